"""What a network takes on a core, measured: linked, run on an emulated one, and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pruning.deploy.integer_ir import Codes, IntegerNetwork
from pruning.deploy.reference import reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Flash: the network's own code, weights and settings as linked; its kernels are the same
    for every network, and not among it. SRAM: static memory. Stack: the deepest it was.
    Instructions: those of one inference, in all and by kernel. `mismatches` counts results that
    are not the arbiter's, among `results` of `samples` inferences.
    """

    core: str
    flash_bytes: int
    sram_bytes: int
    stack_bytes: int
    instructions: int
    by_kernel: Mapping[str, int]
    samples: int
    results: int
    mismatches: int


def measure(network: IntegerNetwork, core: str, codes: Codes) -> Measured:
    """Build a network for a core and run it on inputs, (batch, channels, height, width).

    Raises:
        ToolchainError: it cannot be built. EmulatorError: it cannot be run.
    """
    from pruning.deploy.toolchain.build import build_firmware
    from pruning.deploy.toolchain.emulate import execute  # their libraries are an extra

    firmware = build_firmware(network, core)
    done = execute(firmware, network, codes)
    results, mismatches = compared(network, codes, done.outputs)
    return Measured(
        core=core,
        flash_bytes=firmware.flash_bytes,
        sram_bytes=firmware.sram_bytes,
        stack_bytes=done.stack_bytes,
        instructions=done.instructions,
        by_kernel=dict(done.by_kernel),
        samples=len(codes),
        results=results,
        mismatches=mismatches,
    )


def compared(network: IntegerNetwork, codes: Codes, outputs: Sequence[Codes]) -> tuple[int, int]:
    """How many results there are, and how many of them are not the reference's.

    Args:
        network: what was run.
        codes: its inputs, (batch, channels, height, width).
        outputs: of each output in order what came out, (batch, channels, height, width).
    """
    expected = reference(network, codes)
    wanted = [expected[name] for name in network.outputs]
    mismatches = sum(
        int(np.count_nonzero(found != output.reshape(found.shape)))
        for found, output in zip(outputs, wanted, strict=True)
    )
    return sum(output.size for output in wanted), mismatches
