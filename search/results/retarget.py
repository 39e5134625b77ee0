"""A study's finished networks as another device would run them."""

from dataclasses import asdict, replace

from pruning.budget import Device
from pruning.cost.model import CostModel
from pruning.export.stored_model import MODEL, stored_cost
from pruning.graph.graph import Graph
from pruning.training.checkpoint import unpack_network
from search.results.report import study_record
from search.study.factory import SweepFactory
from search.study.limits import limits_of
from search.study.study import Study
from tracking.records import Costs, DeviceRecord, Limits, StudyRecord, TrialRecord


def record_for(study: Study, device: Device) -> StudyRecord:
    """Everything there is to tell of a study, with costs estimated for a device, which may be
    another than the study's. Nothing is measured there.
    """
    record, factory = study_record(study), SweepFactory(study.spec)
    if is_same_device(study, device):
        return record

    def model(graph: Graph) -> CostModel:
        return CostModel(graph, device, factory.encoding, factory.conventions)

    def ported(trial: TrialRecord) -> TrialRecord:
        if trial.costs is None or MODEL not in trial.files:
            return trial
        network = unpack_network(study.workspace.store.read(trial.files[MODEL]))
        cost, _ = stored_cost(network, model(network.graph))
        return replace(trial, costs=Costs(**asdict(cost)), measured=None)

    dense = record.dense
    if dense is not None:
        whole = model(factory.start.graph).dense
        dense = replace(dense, costs=Costs(**asdict(whole)))
    limits = Limits(**limits_of(device.budget))
    return replace(
        record,
        trials=tuple(map(ported, record.trials)),
        dense=dense,
        device=DeviceRecord(name=device.name, limits=limits),
    )


def is_same_device(study: Study, device: Device) -> bool:
    """Whether a device is the study's, whatever its margins are by now."""
    own = SweepFactory(study.spec).device
    alike = replace(device, flash_margin=own.flash_margin, latency_margin=own.latency_margin)
    return alike == own
