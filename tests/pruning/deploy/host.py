"""Generated C, compiled and run on this machine."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import pytest

from pruning.deploy import IntegerNetwork, c_files
from pruning.deploy.backends.c import kernel_files

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion")
CHECKED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

needs_cc = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler here (apt-get install gcc)"
)


def written(network: IntegerNetwork, folder: Path) -> Path:
    """The C files of a network in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in c_files(network).items():
        (folder / name).write_text(text)
    return folder


@cache
def _kernels() -> Path:
    """The kernels as an object file: they are the same for every network."""
    folder = Path(tempfile.mkdtemp(prefix="paring-kernels-"))
    atexit.register(shutil.rmtree, folder)
    for name, text in kernel_files().items():
        (folder / name).write_text(text)
    _run("cc", *STRICT, *CHECKED, "-c", folder / "kernels.c", "-o", folder / "kernels.o")
    return folder / "kernels.o"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compiled(folder: Path) -> Path:
    """The example of a folder of C files as a program that checks what it does."""
    sources = (folder / "model.c", folder / "main.c", _kernels())
    _run("cc", *STRICT, *CHECKED, *sources, "-o", folder / "program")
    return folder / "program"


def answers(program: Path, network: IntegerNetwork, codes: np.ndarray) -> list[np.ndarray]:
    """What a program makes of (batch, channels, height, width) codes: each output alike."""
    fed = np.moveaxis(codes.reshape(-1, *network.shapes["input"]), 1, -1)
    done = subprocess.run([program], input=fed.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    shapes = [network.shapes[name] for name in network.outputs]
    told = np.frombuffer(done.stdout, np.int8).reshape(len(fed), sum(map(prod, shapes)))
    parts = np.split(told, np.cumsum([prod(shape) for shape in shapes])[:-1], axis=1)
    return [
        np.moveaxis(part.reshape(-1, height, width, channels), -1, 1)
        for part, (channels, height, width) in zip(parts, shapes, strict=True)
    ]
