"""A study's finished networks as another device would run them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from pruning.budget import Device
from pruning.cost.model import CostModel
from pruning.errors import CheckpointError
from pruning.export.stored_model import MODEL, stored_cost
from pruning.graph.graph import Graph
from pruning.training.checkpoint import unpack_network
from search.errors import StoreError
from search.results.report import study_record
from search.storage.blobs import lost
from search.study.factory import SweepFactory
from search.study.limits import limits_of
from search.study.study import Study
from search.study.study_record import dense_of
from tracking.records import Costs, DenseRecord, DeviceRecord, Limits, StudyRecord, TrialRecord

log = logging.getLogger("paring.retarget")


def record_for(study: Study, device: Device) -> StudyRecord:
    """Everything there is to tell of a study, with costs estimated for a device, which may be
    another than the study's. Nothing is measured there.
    """
    record = study_record(study)
    if is_same_device(study, device):
        return record
    factory = SweepFactory(study.spec, study.facts.precision)

    def model(graph: Graph) -> CostModel:
        return CostModel(graph, device, factory.encoding, factory.conventions)

    def ported(trial: TrialRecord) -> TrialRecord:
        if trial.costs is None or MODEL not in trial.files:
            return trial
        network = unpack_network(study.workspace.store.read(trial.files[MODEL]))
        cost, _ = stored_cost(network, model(network.graph))
        return replace(trial, costs=Costs(**asdict(cost)), measured=None)

    limits = Limits(**limits_of(device.budget))
    return replace(
        record,
        trials=tuple(map(ported, record.trials)),
        dense=_dense(study, record.dense, model),
        device=DeviceRecord(name=device.name, limits=limits),
    )


def _dense(
    study: Study, known: Sequence[DenseRecord], model: Callable[[Graph], CostModel]
) -> tuple[DenseRecord, ...]:
    """The dense networks by another model of costs, but for those that are no longer in the
    store, which is no reason to show nothing.
    """
    notes = study.notes().dense
    by_name = {facts.name: dense_of(notes, facts) for facts in study.facts.all_variants}
    ported = []
    for dense in known:
        if (note := by_name[dense.name]) is None:
            continue
        try:
            network = unpack_network(study.workspace.store[note.digest])
        except (KeyError, StoreError, CheckpointError) as error:
            log.warning("the dense network is left out: %s", lost(error))
            continue
        costs = Costs(**asdict(model(network.graph).dense))
        ported.append(replace(dense, costs=costs))
    return tuple(ported)


def is_same_device(study: Study, device: Device) -> bool:
    """Whether a device is the study's, whatever its margins are by now."""
    own = SweepFactory(study.spec).device
    alike = replace(device, flash_margin=own.flash_margin, latency_margin=own.latency_margin)
    return alike == own
