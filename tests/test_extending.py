"""The examples of docs/extending.md work as they stand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.examples import ROOT, example
from tests.pruning.deploy.host import needs_cc


def run_with(folder: Path, files: Mapping[str, str], code: str) -> str:
    """What a program prints that uses a copy of the engine with some files more or changed."""
    shutil.copytree(
        ROOT / "pruning", folder / "pruning", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, text in files.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    engine, *lines = done.stdout.splitlines()
    assert engine == str(folder / "pruning/__init__.py")
    return "\n".join(lines)


USE_SINC = """
import torch
from torch import nn

import pruning
from pruning.budget import Device
from pruning.cost.model import deployed
from pruning.deploy import Evaluator, c_files, calibrate, lower, obstacles, reference
from pruning.execution.network import Network, mask_points
from pruning.frontend.trace import tensors_of, trace


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 2, 3)

    def forward(self, x):
        return self.last(torch.sinc(self.first(x)))


net, x = Net().eval(), torch.randn(2, 1, 8, 8)
graph = trace(net, x[0])
assert torch.equal(Network(graph, tensors_of(net)).eval()(x), net(x))
assert "sinc" in mask_points(graph), mask_points(graph)
mcu = Device(
    name="mcu", core="cortex-m4", clock_hz=8e7, cycles_per_instruction=1.3, flash_bytes=2**18,
    sram_bytes=2**16, reserved_flash_bytes=0, reserved_sram_bytes=0,
)
model = deployed(graph, mcu)
assert model.cost((1, 3, 2)).sram_bytes < model.dense.sram_bytes
assert not obstacles(graph)
network = lower(graph, tensors_of(net), calibrate(graph, tensors_of(net), x))
codes = reference(network, network.quantized(x.numpy()))
exact = Evaluator(network)(x)
assert (exact - net(x)).abs().max() < 0.1, (exact - net(x)).abs().max()
assert "model_run" in c_files(network)["model.h"]
print(pruning.__file__)
"""


@pytest.mark.slow
def test_an_operator_in_a_module_of_its_own(tmp_path):
    run_with(tmp_path, {"pruning/ops/sinc.py": example("An operator")}, USE_SINC)


USE_MAXIMUM = """
import numpy as np
import torch
from torch import nn
from pathlib import Path

import pruning
from pruning.deploy import Evaluator, calibrate, lower, obstacles, reference
from pruning.frontend.trace import tensors_of, trace
from tests.pruning.deploy.host import answers, compiled, written


class Larger(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)
        self.last = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.last(torch.maximum(self.first(x), self.second(x)))


torch.manual_seed(0)
net, x = Larger().eval(), torch.randn(8, 2, 5, 6)
graph = trace(net, x[0])
assert not obstacles(graph)
network = lower(graph, tensors_of(net), calibrate(graph, tensors_of(net), x))
codes = network.quantized(x.numpy())
(name,) = network.outputs
expected = reference(network, codes)[name]
(told,) = answers(compiled(written(network, Path("c"))), network, codes)
np.testing.assert_array_equal(told, expected)
assert (Evaluator(network)(x) - net(x)).abs().max() < 0.1
print(pruning.__file__)
print(*(type(kernel).__name__ for kernel in network.kernels))
"""


@pytest.mark.slow
@needs_cc
def test_an_integer_kernel_in_a_module_of_its_own(tmp_path):
    folder = ROOT / "pruning/deploy/c"
    header, source = (folder / f"kernels.{end}" for end in "hc")
    end = "\n#ifdef __cplusplus\n}"
    files = {
        "pruning/deploy/kernels/maximum.py": example("An integer kernel"),
        "pruning/deploy/c/kernels.h": header.read_text().replace(
            end, f"\n{example('An integer kernel', 'c', 0)}{end}"
        ),
        "pruning/deploy/c/kernels.c": source.read_text()
        + f"\n{example('An integer kernel', 'c', 1)}",
        "pruning/ops/elementwise.py": (ROOT / "pruning/ops/elementwise.py")
        .read_text()
        .replace(
            '(_kind(name, None) for name in ("maximum", "minimum"))',
            '(_kind(name, size) for name, size in (("maximum", 32), ("minimum", None)))',
        ),
    }
    kernels = run_with(tmp_path, files, USE_MAXIMUM)
    assert sorted(kernels.split()) == ["Conv", "Conv", "Conv", "Maximum"]


USE_CORE = """
import torch

import pruning
from pruning.cost.model import deployed
from pruning.frontend.trace import trace

graph = trace(torch.nn.Conv2d(1, 4, 3), torch.zeros(1, 8, 8))
new, old = (deployed(graph, pruning.device(name)).dense for name in ("m55", "stm32u575"))
assert new == old, (new, old)
print(pruning.__file__)
print(pruning.device("m55").core)
"""


@pytest.mark.slow
def test_a_core_and_a_device_that_has_it(tmp_path):
    files = {
        "pruning/cost/cores/cortex_m55.py": example("A core"),
        "pruning/catalogue/device/m55.yaml": example("A core", "yaml"),
    }
    assert run_with(tmp_path, files, USE_CORE) == "cortex-m55"


USE_SINES = """
import pruning
from mydata import sines

data = sines()
print(pruning.__file__)
print(data.input_shape, len(data.train), *data.classes)
"""


@pytest.mark.slow
def test_a_data_source_of_ones_own(tmp_path):
    files = {"mydata.py": example("A data source, a task")}
    assert run_with(tmp_path, files, USE_SINES) == "(1, 32) 80 slow fast"
