"""Finished trials on a device's core, emulated or not: measured, and kept with the study."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from pruning.budget import Device
from pruning.data import Dataset
from pruning.deploy import IntegerNetwork
from pruning.deploy.integer_ir import HIGH, LOW, Codes
from pruning.deploy.toolchain.measure import Measured
from pruning.deploy.toolchain.runtimes import RUNTIMES, Runtime, run_all
from pruning.deploy.toolchain.tflm import Interpreted
from pruning.training.checkpoint import unpack_network
from search.results.retarget import is_same_device
from search.study.factory import SweepFactory
from search.study.stored_model import MODEL, integer_network
from search.study.study import Study
from search.study.study_record import Measurement
from tracking.records import TrialRecord

SAMPLES = 4  # of the validation set; as many inputs are drawn from all codes


def verify(
    study: Study,
    trials: Sequence[TrialRecord],
    device: Device,
    workers: int,
    runtime: Runtime = RUNTIMES["c"],
) -> Iterator[tuple[TrialRecord, Measured]]:
    """Measure trials that have a model, several at a time, and give them one by one.

    What was measured on the study's own device is kept with the study, where the runtime is
    one whose numbers are.

    Raises:
        DeployError: a model cannot be built or run. ConfigError: it has no integers.
    """
    networks, data = [_network(study, trial) for trial in trials], SweepFactory(study.spec).data
    inputs = [_inputs(data, network) for network in networks]
    stored = runtime.kept and is_same_device(study, device)
    results = run_all(runtime, Measured, networks, device.core, inputs, workers)
    for trial, measured in zip(trials, results, strict=True):
        if stored:
            study.note(measured={trial.number: Measurement(**asdict(measured))})
        yield trial, measured


def interpreted(
    study: Study,
    trials: Sequence[TrialRecord],
    device: Device,
    runtime: Runtime = RUNTIMES["tflm"],
) -> Iterator[tuple[TrialRecord, Interpreted]]:
    """Run trials that have a model in an interpreter, one by one.

    Raises:
        DeployError: a model cannot be written or run. ConfigError: it has no integers.
    """
    data = SweepFactory(study.spec).data
    for trial in trials:
        network = _network(study, trial)
        codes = _inputs(data, network)
        (taken,) = run_all(runtime, Interpreted, [network], device.core, [codes])
        yield trial, taken


def workers_for(asked: int) -> int:
    """Models that are measured at a time: one a core, unless a number was asked for."""
    return asked or os.cpu_count() or 1


def _network(study: Study, trial: TrialRecord) -> IntegerNetwork:
    return integer_network(unpack_network(study.workspace.store.read(trial.files[MODEL])))


def _inputs(data: Dataset, network: IntegerNetwork) -> Codes:
    """Samples of the validation set, and codes from all over their range."""
    shape = network.shapes["input"]
    real = network.quantized(data.normalise(data.validation.inputs[:SAMPLES]).numpy())
    drawn = np.random.default_rng(0).integers(LOW, HIGH + 1, (SAMPLES, *shape))
    return np.concatenate([real.reshape(-1, *shape), drawn.astype(np.int8)])
