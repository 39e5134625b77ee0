"""A network in TensorFlow Lite for Microcontrollers: its interpreter, run on this machine.

The interpreter ends its process where a file is not as it should be, and tells its memory on
standard error; so it runs in a process of its own, `interpreter.py`.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pruning.deploy.integer_ir import Codes, IntegerNetwork
from pruning.deploy.reference import reference
from pruning.errors import EmulatorError

# Of the interpreter with the operators of ResNet-8 or DS-CNN and CMSIS-NN's kernels, as linked
# for a Cortex-M4: 96.5 KB.
RUNTIME_BYTES = 96_500
SCRIPT = Path(__file__).with_name("tflm_runner.py")
TIMEOUT_S = 120.0
ALLOCATED = re.compile(r"Arena allocation total (\d+) bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreted:
    """The bytes of the file; of the interpreter's arena, on this machine of 64-bit pointers: a
    few percent more than on a microcontroller. `mismatches` counts results that are not the
    arbiter's, among `results`.
    """

    file_bytes: int
    arena_bytes: int
    results: int
    mismatches: int

    @property
    def flash_bytes(self) -> int:
        """The file and the interpreter."""
        return self.file_bytes + RUNTIME_BYTES


def interpret(network: IntegerNetwork, codes: Codes) -> Interpreted:
    """Run a network as a .tflite file on inputs, (batch, channels, height, width).

    Raises:
        DeployError: it cannot be written. EmulatorError: the interpreter does not run it.
    """
    from pruning.deploy.backends.tflite import tflite_file  # its libraries are an extra

    content = tflite_file(network)
    outputs, arena_bytes = run(content, codes.reshape(-1, *network.shapes["input"]))
    expected = reference(network, codes)
    wanted = [np.moveaxis(expected[name], 1, -1).ravel() for name in network.outputs]
    found = np.split(outputs, np.cumsum([len(values) for values in wanted])[:-1])
    return Interpreted(
        file_bytes=len(content),
        arena_bytes=arena_bytes,
        results=len(outputs),
        mismatches=sum(int((a != b).sum()) for a, b in zip(found, wanted, strict=True)),
    )


def run(content: bytes, codes: Codes, timeout_s: float = TIMEOUT_S) -> tuple[Codes, int]:
    """The codes of all results, output by output, and the bytes of the arena.

    Raises:
        EmulatorError: the interpreter refuses the file, fails or does not end in time.
    """
    with TemporaryDirectory(prefix="paring-") as folder:
        files = [Path(folder) / name for name in ("model.tflite", "codes.npy", "results.npy")]
        files[0].write_bytes(content)
        np.save(files[1], np.moveaxis(codes, 1, -1), allow_pickle=False)
        command = [sys.executable, "-P", str(SCRIPT), *map(str, files)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EmulatorError(f"tflite-micro did not end within {timeout_s:g} s") from error
        allocated = ALLOCATED.search(done.stderr)
        if done.returncode or allocated is None or not files[2].exists():
            why = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise EmulatorError(
                f"tflite-micro does not run this file of {len(content)} bytes: "
                f"{''.join(why) or f'it ended with {done.returncode}'}"
            )
        return np.load(files[2], allow_pickle=False), int(allocated[1])
