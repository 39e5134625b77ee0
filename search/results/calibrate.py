"""A device's estimates made to agree with kernels that were counted, or timed on a board.

Networks take turns: one fits, the next one checks. A network's sum is judged, since that is
what a budget limits.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.stats import kendalltau
from torch import Tensor, nn

from pruning import models
from pruning.budget import Device
from pruning.cost.cores import core_named
from pruning.cost.model import deployed, loop_passes
from pruning.deploy import IntegerNetwork, lower
from pruning.deploy.toolchain.measure import Measured
from pruning.deploy.toolchain.runtimes import RUNTIMES, Runtime, run_all
from pruning.execution.calibration import calibrate
from pruning.export.stored_model import MODEL
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from pruning.ir.loops import LoopCosts, TripCounts
from pruning.training.checkpoint import unpack_network
from search.errors import ConfigError
from search.results.calibration_net import FIRST, CalibrationNet
from search.storage.trial_record import result_of
from search.study.study import Study

# What random prunings are drawn of: how it is made, and its input.
FAMILIES: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet8": (models.resnet8, (3, 32, 32)),
    "ds_cnn": (models.ds_cnn, (1, 49, 10)),
    "mobilenet_v1": (models.mobilenet_v1, (3, 64, 64)),
    "vgg16": (partial(models.vgg16, width=0.25), (3, 32, 32)),
    "conv_autoencoder": (partial(models.conv_autoencoder, shape=(1, 32, 32)), (1, 32, 32)),
    "dense_autoencoder": (partial(models.dense_autoencoder, shape=(640,)), (640,)),
    "mixed, 3x3": (partial(CalibrationNet, 3, (20, 24)), (FIRST, 20, 24)),
    "mixed, 5x5": (partial(CalibrationNet, 5, (12, 16)), (FIRST, 12, 16)),
}
LEAST, MOST = 0.1, 1.0  # share of a network's channels that is kept
SAMPLES = 16  # random inputs that find the ranges of a random network
WHOLE = ""  # stands for all kernels of a network


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network that is measured."""

    name: str
    graph: Graph
    network: IntegerNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a graph took: cycles by kernel, or of the whole (then the only name is WHOLE)."""

    name: str
    graph: Graph
    cycles: Mapping[str, float]

    @property
    def total(self) -> float:
        """Cycles of one inference."""
        return sum(self.cycles.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How estimates agree with measurements of networks: mean and largest |error|, the largest
    share by which a measurement is more than its estimate, and Kendall's rank correlation.
    `held_out` tells whether none of the networks was fitted.
    """

    networks: int
    mean: float
    worst: float
    margin: float
    kendall: float
    held_out: bool


def subjects(count: int, seed: int) -> Iterator[Subject]:
    """Random prunings with random weights: two of each of FAMILIES in turn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for index in range(count):
            name = list(FAMILIES)[index // 2 % len(FAMILIES)]
            make, shape = FAMILIES[name]
            graph, tensors = _pruned(make(), shape, generator)
            codes = calibrate(graph, tensors, torch.randn(SAMPLES, *shape))
            yield Subject(name=name, graph=graph, network=lower(graph, tensors, codes))


def _pruned(
    model: nn.Module, shape: tuple[int, ...], generator: torch.Generator
) -> tuple[Graph, dict[str, Tensor]]:
    """A model at random widths."""
    graph = trace(model, torch.zeros(shape))
    groups = graph.channels.groups
    share, *own = torch.rand(1 + len(groups), generator=generator).tolist()
    kept = np.ones(sum(graph.channels.widths), dtype=np.bool_)
    for group, factor in zip(groups, own, strict=True):
        wanted = group.size * (LEAST + (MOST - LEAST) * share) * (0.5 + factor)
        width = group.down(wanted) if group.prunable else group.size
        kept[group.units] = np.arange(group.size) < width  # random weights are all alike
    smaller = shrink_tensors(tensors_of(model), kept_axes(graph, kept))
    return shrink_graph(graph, kept), smaller


def counted(
    networks: Sequence[Subject], core: str, workers: int, runtime: Runtime = RUNTIMES["c"]
) -> Iterator[Measured]:
    """What each network takes on a core, in order.

    Raises:
        DeployError: one cannot be built or run, or the runtime does not count instructions.
    """
    random = np.random.default_rng(0)
    inputs = [
        random.integers(-128, 128, (1, *subject.network.shapes["input"])).astype(np.int8)
        for subject in networks
    ]
    lowered = [subject.network for subject in networks]
    yield from run_all(runtime, Measured, lowered, core, inputs, workers)


def observed(
    device: Device, count: int, seed: int, workers: int, runtime: Runtime = RUNTIMES["c"]
) -> Iterator[Observation]:
    """What random prunings take on a device's core, by default an emulated one: its instructions,
    each as many cycles as the device says.

    Raises:
        DeployError: one cannot be built or run.
    """
    drawn = list(subjects(count, seed))
    for subject, taken in zip(drawn, counted(drawn, device.core, workers, runtime), strict=True):
        cycles = {
            name: number * device.cycles_per_instruction for name, number in taken.by_kernel.items()
        }
        yield Observation(name=subject.name, graph=subject.graph, cycles=cycles)


@final
class StoredGraphs(Mapping[int, Graph]):
    """The graphs of a study's finished trials by number, each read when it is asked for."""

    def __init__(self, study: Study) -> None:
        results = ((trial.number, result_of(trial)) for trial in study.trials())
        self._models = {
            number: result.files[MODEL] for number, result in results if result is not None
        }
        self._store = study.workspace.store

    def __getitem__(self, number: int) -> Graph:
        return unpack_network(self._store.read(self._models[number])).graph

    def __iter__(self) -> Iterator[int]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, number: object) -> bool:
        return number in self._models


def read_times(path: Path, graphs: Mapping[int, Graph], device: Device) -> list[Observation]:
    """The observations of a CSV file with the columns trial, latency_ms and perhaps kernel.

    Raises:
        ConfigError: the file cannot be read, or names what does not exist.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"csv={path}: {error}") from error
    by_trial: dict[int, dict[str, float]] = {}
    for line, row in enumerate(rows, 2):
        trial, kernel, cycles = _entry(row, device, f"csv={path}, line {line}")
        if trial not in graphs:
            raise ConfigError(f"csv={path}, line {line}: trial {trial} has no model")
        own = by_trial.setdefault(trial, {})
        if kernel in own:
            raise ConfigError(
                f"csv={path}, line {line}: a second time of trial {trial}"
                f"{kernel and f', {kernel}'}; give one for each, such as the mean of several"
            )
        own[kernel] = cycles
    if not by_trial:
        raise ConfigError(
            f"csv={path}: no rows; write a first line trial,latency_ms and a line for each trial"
        )
    found = [
        Observation(name=str(trial), graph=graphs[trial], cycles=own)
        for trial, own in by_trial.items()
    ]
    for observation in found:
        _require_complete(observation, device, f"csv={path}")
    return found


def _entry(row: Mapping[str, str | None], device: Device, where: str) -> tuple[int, str, float]:
    """Trial, kernel and cycles of a line."""
    try:
        trial, latency_ms = int(row["trial"] or ""), float(row["latency_ms"] or "")
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"{where}: needs the columns trial (a trial's number) and latency_ms (a number)"
        ) from error
    if not 0 < latency_ms < float("inf"):
        raise ConfigError(f"{where}: latency_ms={latency_ms}: write a positive number")
    return trial, row.get("kernel") or WHOLE, latency_ms * device.clock_hz / 1e3


def _require_complete(observation: Observation, device: Device, where: str) -> None:
    """Refuse times of some kernels only: they would pass for those of the whole."""
    known = loop_passes(deployed(observation.graph, device)).keys()
    if set(observation.cycles) not in ({WHOLE}, set(known)):
        raise ConfigError(
            f"{where}: trial {observation.name}: give one time without a kernel, or one for "
            f"each of {', '.join(known)}"
        )


def calibrated(device: Device, seen: Sequence[Observation], board: bool) -> tuple[Device, Quality]:
    """A device whose estimates agree with observations, and how well.

    Times of a `board` give cycles per instruction; with those of kernels all loops are fitted
    besides, or alone where instructions were counted. With
    fewer than four networks none is left to check on, and the quality is that of the fit.
    """
    held_out = len(seen) >= 4
    fit, check = (seen[::2], seen[1::2]) if held_out else (seen, seen)
    found = _fitted(device, fit, board)
    judged = quality([cycles_of(found, o.graph) for o in check], [o.total for o in check], held_out)
    if judged.margin >= 1:
        raise ConfigError(
            f"device={device.name}: what is measured is up to {judged.margin:.0%} more than "
            "estimated even now, too much for a margin; are the times those of this core?"
        )
    return replace(found, latency_margin=judged.margin), judged


def cycles_of(device: Device, graph: Graph) -> float:
    """The estimate of one inference."""
    milliseconds = deployed(graph, device).dense.latency_ms
    return milliseconds * device.clock_hz / 1e3


def _fitted(device: Device, seen: Sequence[Observation], board: bool) -> Device:
    if board:
        ratios = [o.total / cycles_of(device, o.graph) for o in seen]
        mean = len(ratios) / sum(1 / ratio for ratio in ratios)  # errors of both signs balance
        cycles = device.cycles_per_instruction * mean
        device = replace(device, cycles_per_instruction=cycles)
    if any(WHOLE in observation.cycles for observation in seen):
        return device
    own = {
        kind: LoopCosts(*(rate / device.cycles_per_instruction for rate in rates))
        for kind, rates in fitted_loops(seen, device).items()
    }
    known = core_named(device.core).loop_costs(device.loops)
    changed = {kind: rates for kind, rates in own.items() if rates != known[kind]}
    return replace(device, loops={**device.loops, **changed})


def fitted_loops(seen: Iterable[Observation], device: Device) -> dict[str, LoopCosts]:
    """Cycles of each loop by kind of kernel, none below zero: least squares, in which a
    kernel's error weighs less the more it takes, but less than in proportion.
    """
    rows: dict[str, list[tuple[TripCounts, float]]] = {}
    for observation in seen:
        passes = loop_passes(deployed(observation.graph, device))
        for name, cycles in observation.cycles.items():
            routine, counts = passes[name]
            rows.setdefault(routine, []).append((counts, cycles))
    return {routine: _least_squares(pairs) for routine, pairs in sorted(rows.items())}


def _least_squares(rows: Sequence[tuple[TripCounts, float]]) -> LoopCosts:
    taken = np.array([cycles for _, cycles in rows])
    weights = 1 / np.sqrt(np.maximum(taken, 1.0))
    passes = np.array([counts for counts, _ in rows]) * weights[:, None]
    scale = np.maximum(np.abs(passes).max(0), 1e-12)
    rates, _ = nnls(passes / scale, taken * weights)
    return LoopCosts(*(rates / scale).tolist())


def quality(estimated: Sequence[float], measured: Sequence[float], held_out: bool) -> Quality:
    """How well two sequences of the same networks agree."""
    errors = np.asarray(estimated) / np.asarray(measured) - 1
    rank = kendalltau(estimated, measured).statistic if len(errors) > 1 else 1.0
    return Quality(
        networks=len(errors),
        mean=float(np.abs(errors).mean()),
        worst=float(np.abs(errors).max()),
        margin=max(0.0, float((1 / (1 + errors) - 1).max())),
        kendall=float(rank),
        held_out=held_out,
    )
