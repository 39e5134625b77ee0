"""A network in the formats that others read: no pickle, no code of ours needed."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from pruning.checkpoint import StoredNetwork
from pruning.deploy import IntegerNetwork, c_files, lower, require_deployable
from pruning.quantize import Range
from search.errors import ConfigError

MODEL = "model.safetensors"


class Format(NamedTuple):
    """How a network, and the bytes that it is stored as, become files by name; what a reader
    does with them; and which of them are a network's own.
    """

    files: Callable[[StoredNetwork, bytes], dict[str, bytes]]
    usage: str
    own: tuple[str, ...]


def integer_network(network: StoredNetwork) -> IntegerNetwork:
    """The integers that a stored network was scored with.

    Raises:
        DeployError: it has no integer form. ConfigError: it was scored without.
    """
    require_deployable(network.graph)
    if not network.notes.get("codes"):
        raise ConfigError(
            f"this model was scored with precision={network.notes.get('precision')} and has no "
            "integers of its own: run a new sweep with precision=int8-exact"
        )
    codes = {name: Range(*code) for name, code in network.notes["codes"].items()}
    return lower(network.graph, network.tensors, codes)


def _safetensors(_: StoredNetwork, stored: bytes) -> dict[str, bytes]:
    return {MODEL: stored}


def _c(network: StoredNetwork, _: bytes) -> dict[str, bytes]:
    return {name: text.encode() for name, text in c_files(integer_network(network)).items()}


def _tflite(network: StoredNetwork, _: bytes) -> dict[str, bytes]:
    from pruning.deploy.tflite import tflite_file  # its libraries are an extra

    return {"model.tflite": tflite_file(integer_network(network))}


def _onnx(network: StoredNetwork, _: bytes) -> dict[str, bytes]:
    """The floating-point network, with a free batch size."""
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise ConfigError(
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
            raise ConfigError("format=onnx: torch exported nothing; choose another format")
        program.save(path, external_data=False)
        return {"model.onnx": path.read_bytes()}


FORMATS: Mapping[str, Format] = {
    "safetensors": Format(
        _safetensors,
        f"""Load it without pickle and without foreign code:

```python
from pathlib import Path
from pruning.checkpoint import unpack_network

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
        """C99 without heap or operating system. Add `model.c` and `kernels.c` to your firmware,
fill `model_input()` with int8 codes, pixel by pixel (height, width, channels), call
`model_run()`, and read `model_output(0)`. A normalised value x has the code
x / MODEL_INPUT_SCALE + MODEL_INPUT_ZERO, rounded and clipped to -128..127.

`cmake -B build && cmake --build build --target example` builds `main.c`, which runs the network
on codes from a file.
""",
        ("model.c", "model.h"),
    ),
}
