"""One module a kernel: an incomplete one is refused, and a new one is a record and a family."""

import importlib
import pkgutil
import runpy
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pruning.cost.latency import routine_name
from pruning.cost.memory.arena import ArenaPlan, pack
from pruning.cost.memory.overlap import BufferUse
from pruning.deploy import IntegerNetwork, calibrate, kernels, obstacles
from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import ExactTorch
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel
from pruning.deploy.kernels import conv, prelu
from pruning.deploy.kernels.base import KernelFamily, Operands
from pruning.deploy.kernels.registry import FAMILIES, by_record, by_routine, family_of
from pruning.errors import DeployError, UnsupportedOperatorError
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from tests.examples import example
from tests.pruning.deploy.lowered import drawn

EXAMPLE: dict[str, Any] = {"__name__": "maximum"}
exec(example("An integer kernel"), EXAMPLE)  # as a module of its own
Maximum, MAXIMUM = EXAMPLE["Maximum"], EXAMPLE["FAMILY"]
PARTS = [part.name for part in fields(KernelFamily)]


@pytest.mark.parametrize("part", PARTS)
def test_a_family_without_a_part_is_refused_by_name(part):
    parts = {name: getattr(conv.FAMILY, name) for name in PARTS if name != part}
    name = "KernelFamily" if part == "record" else "Conv"
    with pytest.raises(TypeError, match=f"^{name}: KernelFamily needs {part}$"):
        KernelFamily(**parts)


def test_the_module_of_an_incomplete_family_cannot_be_imported(tmp_path):
    text = Path(prelu.__file__).read_text()
    incomplete = text.replace("    in_place=True,\n", "")
    (tmp_path / "prelu.py").write_text(incomplete)
    with pytest.raises(TypeError, match=r"^Prelu: KernelFamily needs in_place$"):
        runpy.run_path(str(tmp_path / "prelu.py"))


def test_every_module_with_a_family_is_registered():
    modules = [
        importlib.import_module(f"{kernels.__name__}.{info.name}")
        for info in pkgutil.iter_modules(kernels.__path__)
    ]
    assert {m.FAMILY for m in modules if hasattr(m, "FAMILY")} == set(FAMILIES)
    assert len(FAMILIES) == 10


def test_no_two_families_share_a_routine_or_a_record():
    other = replace(conv.FAMILY, record=Maximum)
    with pytest.raises(TypeError, match="conv is of two kernel families: Conv, Maximum"):
        by_routine((conv.FAMILY, other))
    with pytest.raises(TypeError, match="Conv is of two kernel families: Conv, Conv"):
        by_record((conv.FAMILY, conv.FAMILY))


class Larger(nn.Module):
    """The larger result of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

    def forward(self, x):
        return torch.maximum(self.first(x), self.second(x))


@pytest.fixture(scope="module")
def with_maximum() -> IntegerNetwork:
    """A network that needs the new family, lowered with it."""
    torch.manual_seed(0)
    model = Larger().eval()
    graph, tensors = trace(model, torch.zeros(2, 4, 5)), dict(model.state_dict())
    assert obstacles(graph) == ["maximum (maximum): has no integer kernel"]
    codes = dict(calibrate(graph, tensors, drawn(graph, 8)))
    context = LoweringContext(graph=graph, tensors=tensors, codes=codes)
    families = by_routine((*FAMILIES, MAXIMUM))
    pairs = [(k, routine_name(k)) for k in fuse(graph)]
    lowered = [families[name].lowerings[name](k, context) for k, name in pairs]
    return IntegerNetwork(
        kernels=tuple(lowered),
        outputs=graph.outputs,
        shown=tuple(graph.shape(name) for name in graph.outputs),
        codes=context.codes,
        shapes=context.shapes,
    )


def test_a_new_kernel_computes_the_same_in_torch(with_maximum):
    kernel = with_maximum.kernels[-1]
    assert isinstance(kernel, Maximum)
    codes = np.random.default_rng(0).integers(-128, 128, (2, 64, *kernel.shape))
    zeros = [with_maximum.codes[name].zero_point for name in kernel.inputs]
    zero = with_maximum.codes[kernel.output].zero_point
    expected = MAXIMUM.reference(kernel, Operands(list(codes), zeros, zero))
    function = MAXIMUM.torch_function(kernel, ExactTorch(with_maximum, torch.device("cpu")))
    first, second = (
        torch.from_numpy(code - zero).float() for code, zero in zip(codes, zeros, strict=True)
    )
    np.testing.assert_array_equal(function(first, second).numpy() + zero, expected)
    scales = [with_maximum.codes[name].scale for name in kernel.inputs]
    real = np.maximum(first.numpy() * scales[0], second.numpy() * scales[1])
    error = (expected - zero) * with_maximum.codes[kernel.output].scale - real
    assert np.abs(error).max() <= with_maximum.codes[kernel.output].scale * 0.7501  # rounded twice


def test_a_new_kernel_is_written(with_maximum):
    kernel = with_maximum.kernels[-1]
    source = CSource(with_maximum, plan_of(with_maximum), "net")
    MAXIMUM.write_c(kernel, source, 2)
    (step,) = source.steps
    assert "{paring_maximum, &net_maximum2, net_arena + " in step
    assert "static const paring_maximum_params net_maximum2 = {" in source.definitions[0]
    assert ".count = 60," in source.definitions[0]
    with pytest.raises(DeployError, match="maximum: compares values of different scales"):
        MAXIMUM.write_tflite(kernel, TfliteModel(with_maximum))


def plan_of(network: IntegerNetwork) -> ArenaPlan:
    families = by_record((*FAMILIES, MAXIMUM))
    uses = []
    for kernel in network.kernels:
        family = families[type(kernel)]
        windows = family.windows(kernel)
        uses.append(
            BufferUse(
                inputs=kernel.inputs,
                output=kernel.output,
                in_place=family.in_place,
                windows=windows,
            )
        )
    return pack(uses, {n: prod(shape) for n, shape in network.shapes.items()}, network.outputs)


def test_a_kernel_without_a_family_is_refused_by_name(with_maximum):
    with pytest.raises(UnsupportedOperatorError, match=r"maximum: .* of kind Maximum; known: Add"):
        family_of(with_maximum.kernels[-1])
