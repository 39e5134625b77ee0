"""Where a network is run to be compared with the integers that were scored: one record each."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

from pruning.deploy.integer_ir import Codes, IntegerNetwork
from pruning.deploy.toolchain.measure import Measured, measure
from pruning.deploy.toolchain.tflm import Interpreted, interpret
from pruning.errors import DeployError

Taken = TypeVar("Taken", Measured, Interpreted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One place to run networks in.

    run: from a network, the name of a core and inputs, (batch, channels, height, width), to what
    it took there, and how many results are not those of `pruning.deploy.reference` (see
    `pruning.deploy.toolchain.measure.compared`).
    where: this place, in words.
    gives: of which kind that is: `Measured`, of linked firmware, or `Interpreted`, of a file and
    its interpreter.
    parallel: several networks may run at a time, each in a process of its own; `run` then has to
    be a function of a module, or a partial of one.
    kept: what is measured for a study's own device is kept with the study.
    requires: a module that has to be installed, and what pip installs it by.
    """

    run: Callable[[IntegerNetwork, str, Codes], Measured | Interpreted]
    where: str
    gives: type[Measured] | type[Interpreted] = Measured
    parallel: bool = False
    kept: bool = False
    requires: tuple[str, str] | None = None


def _interpret(network: IntegerNetwork, _: str, codes: Codes) -> Interpreted:
    return interpret(network, codes)


RUNTIMES: Mapping[str, Runtime] = {
    "c": Runtime(run=measure, where="an emulated core", parallel=True, kept=True),
    "tflm": Runtime(
        run=_interpret,
        gives=Interpreted,
        where="TensorFlow Lite for Microcontrollers on this machine",
        requires=("tflite_micro", "paring[tflm]"),
    ),
}


def run_all(
    runtime: Runtime,
    kind: type[Taken],
    networks: Sequence[IntegerNetwork],
    core: str,
    inputs: Sequence[Codes],
    workers: int = 1,
) -> Iterator[Taken]:
    """What each network takes on a core with its inputs, in order; so many at a time.

    Raises:
        DeployError: the runtime is not installed or does not give that kind of numbers, or a
            network cannot be built or run.
    """
    for taken in _taken(runtime, networks, core, inputs, workers):
        if not isinstance(taken, kind):
            raise DeployError(
                f"runtime: {runtime.where} gives a {type(taken).__name__}, where a "
                f"{kind.__name__} is needed; choose runtime=c, or another of {', '.join(RUNTIMES)}"
            )
        yield taken


def _taken(
    runtime: Runtime,
    networks: Sequence[IntegerNetwork],
    core: str,
    inputs: Sequence[Codes],
    workers: int,
) -> Iterator[object]:
    if runtime.requires is not None and find_spec(runtime.requires[0]) is None:
        module, source = runtime.requires
        raise DeployError(f"{module} is not installed: pip install '{source}'")
    if not runtime.parallel:
        yield from map(runtime.run, networks, [core] * len(networks), inputs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(networks)), mp_context=context) as pool:
        yield from pool.map(runtime.run, networks, [core] * len(networks), inputs)
