"""A network in the formats that others read: no pickle, no code of ours needed."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from pruning.deploy import c_files
from pruning.deploy.backends.c import OPTIONS
from pruning.errors import DeployError, PruningError
from pruning.export.stored_model import MODEL, integer_network
from pruning.training.checkpoint import StoredNetwork


class Source(NamedTuple):
    """What generated C says of itself: the name that it begins with, and where it is from."""

    name: str
    origin: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A form in which others read a network.

    files: from a network, the bytes that it is stored as and what is said of its source, to the
    contents of files by name. usage: what a reader does with them, in Markdown. own: those files
    that hold this network, and no other. In the latter two, {name} and {NAME} stand for the name
    that the user gives it in C.
    """

    files: Callable[[StoredNetwork, bytes, Source], Mapping[str, bytes]]
    usage: str
    own: tuple[str, ...]

    @property
    def named(self) -> bool:
        """Whether its files bear the name that the user gives the network."""
        return any("{name}" in file for file in self.own)

    def own_files(self, name: str) -> set[str]:
        """The files that hold a network of this name."""
        return {file.format(name=name, NAME=name.upper()) for file in self.own}


def _safetensors(_: StoredNetwork, stored: bytes, __: Source) -> dict[str, bytes]:
    return {MODEL: stored}


def _c(network: StoredNetwork, _: bytes, source: Source) -> dict[str, bytes]:
    texts = c_files(integer_network(network), *source)
    return {name: text.encode() for name, text in texts.items()}


def _tflite(network: StoredNetwork, _: bytes, __: Source) -> dict[str, bytes]:
    from pruning.deploy.backends.tflite import tflite_file  # its libraries are an extra

    return {"model.tflite": tflite_file(integer_network(network))}


def _onnx(network: StoredNetwork, _: bytes, __: Source) -> dict[str, bytes]:
    """The floating-point network, with a free batch size."""
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise DeployError(
            f"format=onnx: {' and '.join(missing)} not installed; pip install 'paring[onnx]'"
        )
    example = torch.zeros(2, *network.graph.input_shape)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision aloud
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            network.module(),
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65535)},),
        )
        if program is None:
            raise DeployError("format=onnx: torch exported nothing; choose another format")
        program.save(path, external_data=False)
        return {"model.onnx": path.read_bytes()}


C_USAGE = f"""C99 without heap or operating system, for C and C++. Add `{{name}}.c` and
`kernels.c` to your firmware, fill `{{name}}_input()` with int8 codes, pixel by pixel (height,
width, channels), call `{{name}}_run()`, and read `{{name}}_output(0)`. A normalised value x has
the code x / {{NAME}}_INPUT_SCALE + {{NAME}}_INPUT_ZERO, rounded and clipped to -128..127.

- **Options.** Costs are those of `{" ".join(OPTIONS)}`,
  with which `CMakeLists.txt` and `paring verify` compile. `-Os` takes more instructions in
  depthwise layers; `-O0` takes several times as many, and more stack.
- **Library.** `memcpy` and `memset`, which compilers also call by themselves; no header.
- **Memory.** Cores from Cortex-M3 on read words at any address: arena and weights must not lie
  in Device memory (external RAM is, until the MPU says otherwise), and CCR.UNALIGN_TRP must be
  0. Where that is not possible, compile with `-mno-unaligned-access`: the same results, for more
  instructions on cores with SIMD (M4, M7, M33). Big-endian cores, and compilers that are not
  like gcc (IAR's) or do not define `__ARM_FEATURE_UNALIGNED` (clang before 19, unless given
  `-munaligned-access`), use that form without being told.
- **DMA.** The address of `{{name}}_input()` is a multiple of {{NAME}}_INPUT_ALIGNMENT bytes.
- **Several networks.** Export each with a `name=` of its own and link `kernels.c` once. With
  CMake: `add_subdirectory` of every folder, and `target_link_libraries(firmware {{name}} ...)`.

`cmake -B build && cmake --build build --target example` builds `main.c`, which runs the network
on codes from a file.
"""

FORMATS: Mapping[str, Format] = {
    "safetensors": Format(
        files=_safetensors,
        usage=f"""Load it without pickle and without foreign code:

```python
from pathlib import Path
from pruning.training.checkpoint import unpack_network

network = unpack_network(Path("{MODEL}").read_bytes()).module()
```
""",
        own=(MODEL,),
    ),
    "onnx": Format(
        files=_onnx,
        usage="`model.onnx` is the floating-point network, (batch, channels, ...) in and out.\n",
        own=("model.onnx",),
    ),
    "tflite": Format(
        files=_tflite,
        usage="""`model.tflite` is the network that was scored, int8 in and out, (height, width,
channels). TensorFlow Lite for Microcontrollers gives the very same results.
""",
        own=("model.tflite",),
    ),
    "c": Format(
        files=_c,
        usage=C_USAGE,
        own=("{name}.c", "{name}.h"),
    ),
}


def format_of(name: str | Format) -> Format:
    """A format by its name, or one of the user's own.

    Raises:
        PruningError: there is none of this name.
    """
    if isinstance(name, Format):
        return name
    if name not in FORMATS:
        raise PruningError(f"format={name}: write one of {', '.join(FORMATS)}")
    return FORMATS[name]
