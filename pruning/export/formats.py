"""A network in the formats that others read: no pickle, no code of ours needed."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
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


class Format(NamedTuple):
    """How a network, and the bytes that it is stored as, become files by name; what a reader
    does with them; and which of them are a network's own. In the latter two, {name} and {NAME}
    stand for the name of generated C.
    """

    files: Callable[[StoredNetwork, bytes, Source], dict[str, bytes]]
    usage: str
    own: tuple[str, ...]


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
  with which `CMakeLists.txt` and `paring verify` compile. `-Os` takes up to an eighth more
  instructions, in depthwise layers; `-O0` two to four times as many, and up to 1.8 KB of stack
  where `-O2` takes 0.6.
- **Library.** `memcpy` and `memset`, which compilers call by themselves as well; no header.
- **Memory.** Cores from Cortex-M3 on read words at any address: arena and weights must not lie
  in Device memory (as external RAM does until the MPU says otherwise), and CCR.UNALIGN_TRP must
  be 0. Where that cannot be, compile with `-mno-unaligned-access`: the same results, for 1.4 to
  1.7 times the instructions on cores with SIMD (M4, M7, M33). So do, unasked, big-endian cores
  and compilers that are not like gcc (IAR's) or do not define `__ARM_FEATURE_UNALIGNED` (clang
  before 19, unless told `-munaligned-access`).
- **DMA.** The address of `{{name}}_input()` is a multiple of {{NAME}}_INPUT_ALIGNMENT bytes.
- **Several networks.** Export each with a `name=` of its own and link `kernels.c` once. With
  CMake: `add_subdirectory` of every folder, and `target_link_libraries(firmware {{name}} ...)`.

`cmake -B build && cmake --build build --target example` builds `main.c`, which runs the network
on codes from a file.
"""

FORMATS: Mapping[str, Format] = {
    "safetensors": Format(
        _safetensors,
        f"""Load it without pickle and without foreign code:

```python
from pathlib import Path
from pruning.training.checkpoint import unpack_network

network = unpack_network(Path("{MODEL}").read_bytes()).module()
```
""",
        (MODEL,),
    ),
    "onnx": Format(
        _onnx,
        "`model.onnx` is the floating-point network, (batch, channels, ...) in and out.\n",
        ("model.onnx",),
    ),
    "tflite": Format(
        _tflite,
        """`model.tflite` is the network that was scored, int8 in and out, (height, width,
channels). TensorFlow Lite for Microcontrollers gives the very same results.
""",
        ("model.tflite",),
    ),
    "c": Format(
        _c,
        C_USAGE,
        ("{name}.c", "{name}.h"),
    ),
}


def format_of(name: str) -> Format:
    """A format by its name.

    Raises:
        PruningError: there is none of this name.
    """
    if name not in FORMATS:
        raise PruningError(f"format={name}: write one of {', '.join(FORMATS)}")
    return FORMATS[name]
