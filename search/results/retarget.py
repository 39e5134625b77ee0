"""A study's finished networks as another device would run them."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import final

from pruning.budget import Device
from pruning.cost.model import CostModel
from pruning.errors import CheckpointError
from pruning.export.stored_model import MODEL, stored_cost
from pruning.graph.graph import Graph
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.errors import StoreError
from search.results.report import study_record
from search.storage.blobs import lost
from search.study.factory import SweepFactory
from search.study.limits import device_record
from search.study.study import Study
from search.study.study_record import dense_of
from tracking.records import Costs, DenseRecord, StudyRecord, TrialRecord

log = logging.getLogger("paring.retarget")


def record_for(study: Study, device: Device) -> StudyRecord:
    """Everything there is to tell of a study, with costs estimated for a device, which may be
    another than the study's. Nothing is measured there.
    """
    record = study_record(study)
    if is_same_device(SweepFactory(study.spec).device, device):
        return record
    elsewhere = CostsElsewhere(study)

    def ported(trial: TrialRecord) -> TrialRecord:
        if trial.costs is None or MODEL not in trial.files:
            return trial
        (costs,) = elsewhere.of(trial.files[MODEL], (device,))
        return replace(trial, costs=costs, measured=None)

    return replace(
        record,
        trials=tuple(map(ported, record.trials)),
        dense=tuple(
            replace(dense, costs=costs)
            for dense in record.dense
            for costs in elsewhere.dense(dense, (device,))
        ),
        device=device_record(device),
    )


@final
class CostsElsewhere:
    """What a study's networks cost on other devices, counted as the study counts."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._factory = SweepFactory(study.spec, study.facts.precision)

    def of(self, digest: str, devices: Sequence[Device]) -> tuple[Costs, ...]:
        """The costs of a trial's stored network on each of some devices.

        Raises:
            StoreError: it is not in the store. CheckpointError: it cannot be read.
        """
        network = unpack_network(self._study.workspace.store.read(digest))
        return tuple(self._costs(network, device) for device in devices)

    def dense(self, dense: DenseRecord, devices: Sequence[Device]) -> tuple[Costs, ...]:
        """The same of a dense network; nothing if it is not in the store by now, which is no
        reason to show nothing.
        """
        facts = next(one for one in self._study.facts.all_variants if one.name == dense.name)
        if (note := dense_of(self._study.notes().dense, facts)) is None:
            return ()
        try:
            graph = unpack_network(self._study.workspace.store[note.digest]).graph
        except (KeyError, StoreError, CheckpointError) as error:
            log.warning("the dense network is left out: %s", lost(error))
            return ()
        return tuple(Costs(**asdict(self._model(graph, device).dense)) for device in devices)

    def _costs(self, network: StoredNetwork, device: Device) -> Costs:
        cost, _ = stored_cost(network, self._model(network.graph, device))
        return Costs(**asdict(cost))

    def _model(self, graph: Graph, device: Device) -> CostModel:
        return CostModel(graph, device, self._factory.encoding, self._factory.conventions)


def is_same_device(own: Device, device: Device) -> bool:
    """Whether a device is a study's own, whatever its margins are by now."""
    alike = replace(device, flash_margin=own.flash_margin, latency_margin=own.latency_margin)
    return alike == own
