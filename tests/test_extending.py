"""The examples of docs/extending.md work as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()


def example(section: str, language: str = "python") -> str:
    """The first block of code in a section of the page."""
    text = PAGE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    block = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert block, section
    return block[1]


def with_engine(folder: Path, module: str, text: str) -> dict[str, str]:
    """The environment of a copy of the engine with one more module."""
    shutil.copytree(
        ROOT / "pruning", folder / "pruning", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / module).write_text(text)
    return {**os.environ, "PYTHONPATH": str(folder)}


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


def test_an_operator_in_a_module_of_its_own(tmp_path):
    environment = with_engine(tmp_path, "pruning/ops/sinc.py", example("An operator"))
    done = subprocess.run(
        [sys.executable, "-c", USE_SINC], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "pruning/__init__.py")
