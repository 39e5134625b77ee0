"""Finished trials on a device's core, emulated or not: measured, and kept with the study."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from pruning.budget import RESOURCES, Device
from pruning.cost.model import deployed
from pruning.deploy.toolchain.measure import Measured
from pruning.deploy.toolchain.runtimes import RUNTIMES, Runtime, run_all
from pruning.deploy.toolchain.tflm import Interpreted
from pruning.export.stored_model import MODEL, integer_network, probes, stored_cost
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.config.cores import cores
from search.errors import StudyError
from search.results.export import finished_trial
from search.results.retarget import is_same_device
from search.study.factory import SweepFactory
from search.study.study import Study
from search.study.study_record import Measurement
from search.study.variants import Variants
from tracking.records import Costs, StudyRecord, TrialRecord
from tracking.tables import cost_of, front_trials, limit_of


@dataclass(frozen=True, slots=True)
class Verified:
    """A model as it was estimated and as it was measured, by resource."""

    trial: TrialRecord
    device: Device
    own_device: bool  # of the study
    measured: Measured
    estimated_costs: dict[str, float]
    measured_costs: dict[str, float]

    @property
    def over(self) -> list[str]:
        """The resources of which it takes more than its budget allows."""
        limits = {name: limit_of(self.trial.budget, name) for name in RESOURCES}
        if not self.own_device:
            del limits["latency_ms"]  # that of another
        return self._over(limits)

    @property
    def too_big(self) -> list[str]:
        """The resources of which the device has not as much."""
        return self._over(self.device.budget.limits)

    def _over(self, limits: Mapping[str, float | None]) -> list[str]:
        return [
            name
            for name, limit in limits.items()
            if limit is not None and self.measured_costs[name] > limit
        ]

    @property
    def errors(self) -> dict[str, float]:
        """Estimate / measurement - 1."""
        return {
            name: self.estimated_costs[name] / self.measured_costs[name] - 1 for name in RESOURCES
        }


def to_verify(record: StudyRecord, number: int | None) -> list[TrialRecord]:
    """A finished trial by its number, or all that are on a front.

    Raises:
        StudyError: there is no such trial, or none has finished.
    """
    if number is not None:
        return [finished_trial(record, number)]
    if not (trials := front_trials(record)):
        raise StudyError(f"study {record.name}: no trial has finished yet")
    return trials


def verify(
    study: Study,
    trials: Sequence[TrialRecord],
    device: Device,
    workers: int,
    runtime: Runtime = RUNTIMES["c"],
) -> Iterator[Verified]:
    """Measure trials that have a model, several at a time, and give them one by one.

    What was measured on the study's own device is kept with the study, where the runtime is
    one whose numbers are.

    Raises:
        DeployError: a model has no integers, or cannot be built or run.
    """
    stored, variants = [_stored(study, trial) for trial in trials], Variants(study)
    networks = [integer_network(model) for model in stored]
    own = is_same_device(SweepFactory(study.spec).device, device)
    inputs = [
        probes(variants.of(trial.params).factory.data, network)
        for trial, network in zip(trials, networks, strict=True)
    ]
    results = run_all(runtime, Measured, networks, device.core, inputs, workers)
    for trial, model, measured in zip(trials, stored, results, strict=True):
        if runtime.kept and own:
            study.note(measured={trial.number: Measurement(**asdict(measured))})
        costs = trial.known_costs
        if not own:
            cost, _ = stored_cost(model, deployed(model.graph, device))
            costs = Costs(**asdict(cost))
        yield _verified(trial, costs, measured, device, own)


def interpreted(
    study: Study,
    trials: Sequence[TrialRecord],
    device: Device,
    runtime: Runtime = RUNTIMES["tflm"],
) -> Iterator[tuple[TrialRecord, Interpreted]]:
    """Run trials that have a model in an interpreter, one by one.

    Raises:
        DeployError: a model has no integers, or cannot be written or run.
    """
    variants = Variants(study)
    for trial in trials:
        network = integer_network(_stored(study, trial))
        codes = probes(variants.of(trial.params).factory.data, network)
        (taken,) = run_all(runtime, Interpreted, [network], device.core, [codes])
        yield trial, taken


def workers_for(asked: int) -> int:
    """Models that are measured at a time: one a core, unless a number was asked for."""
    return asked or cores()


def _stored(study: Study, trial: TrialRecord) -> StoredNetwork:
    return unpack_network(study.workspace.store.read(trial.files[MODEL]))


def _verified(
    trial: TrialRecord, costs: Costs, measured: Measured, device: Device, own: bool
) -> Verified:
    estimated = {name: cost_of(costs, name) for name in RESOURCES}
    taken = {
        "flash_bytes": float(measured.flash_bytes),
        "sram_bytes": float(measured.sram_bytes),
        "latency_ms": device.milliseconds(measured.instructions),
    }
    return Verified(trial, device, own, measured, estimated, taken)
