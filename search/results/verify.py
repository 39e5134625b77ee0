"""Finished trials on an emulated core of a device: measured, and kept with the study."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib.util import find_spec

import numpy as np

from pruning.budget import Device
from pruning.data import Dataset
from pruning.deploy import IntegerNetwork
from pruning.deploy.integer_ir import HIGH, LOW, Codes
from pruning.deploy.toolchain.measure import Measured, measure
from pruning.deploy.toolchain.tflm import Interpreted, interpret
from pruning.training.checkpoint import unpack_network
from search.errors import ConfigError
from search.results.retarget import is_same_device
from search.study.factory import SweepFactory
from search.study.stored_model import MODEL, integer_network
from search.study.study import Study
from search.study.study_record import Measurement
from tracking.records import TrialRecord

SAMPLES = 4  # of the validation set; as many inputs are drawn from all codes


def verify(
    study: Study, trials: Sequence[TrialRecord], device: Device, workers: int
) -> Iterator[tuple[TrialRecord, Measured]]:
    """Measure trials that have a model, several at a time, and give them one by one.

    What was measured on the study's own device is kept with the study.

    Raises:
        DeployError: a model cannot be built or run. ConfigError: it has no integers.
    """
    networks, data = [_network(study, trial) for trial in trials], SweepFactory(study.spec).data
    inputs, own = [_inputs(data, network) for network in networks], is_same_device(study, device)
    cores = [device.core] * len(trials)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(trials)), mp_context=context) as pool:
        for trial, measured in zip(trials, pool.map(measure, networks, cores, inputs), strict=True):
            if own:
                study.note(measured={trial.number: Measurement(**asdict(measured))})
            yield trial, measured


def interpreted(
    study: Study, trials: Sequence[TrialRecord]
) -> Iterator[tuple[TrialRecord, Interpreted]]:
    """Run trials that have a model in TensorFlow Lite for Microcontrollers, one by one.

    Raises:
        DeployError: a model cannot be written or run. ConfigError: it has no integers.
    """
    if find_spec("tflite_micro") is None:
        raise ConfigError("tflite-micro is not installed: pip install 'paring[tflm]'")
    data = SweepFactory(study.spec).data
    for trial in trials:
        network = _network(study, trial)
        yield trial, interpret(network, _inputs(data, network))


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
