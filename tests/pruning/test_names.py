"""Modules, parameters and buffers may bear any name: nothing is mistaken for anything else."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import relu

from pruning.allocation.explain import explanation_from_json
from pruning.budget import Budget
from pruning.cost.model import deployed
from pruning.data import synthetic
from pruning.deploy import Evaluator, calibrate, lower, reference
from pruning.errors import UnsupportedOperatorError
from pruning.execution.fake_quant import QuantizedNetwork
from pruning.execution.network import Network
from pruning.frontend.trace import tensors_of, trace
from pruning.tasks import Task, sgd
from pruning.training.checkpoint import pack_network, pack_state, unpack_network, unpack_state
from pruning.training.job import Job, Phase, PhaseKind, Pruning
from pruning.training.state import Pruned, TrainState
from pruning.training.train import train
from tests.pruning.agreement import agree, masks, shrunk_as_masked
from tests.pruning.deploy.host import answers, compiled, needs_cc, written

# Names that are easily taken for others, for attributes of a module, or for code.
TOGETHER = (
    ("0/Conv", "0_Conv", "0 Conv", "0:Conv", "0\\Conv"),
    ("conv", "conv:2", "conv:3", "conv/weight", "conv:2/weight"),
    ("graph", "tensors", "input", "input:2", "_registered"),
    ("weight", "bias", "mul", "operand", "constant"),
    ("/", "//", " ", "  ", "-"),
    ("*/", "/*", "//*", '"', "'"),
    ("ünï", "名前", "🙂", "\n", "\x00"),
    ("None", "0", "1", "", "[0]"),
    ("<b>&amp;", "${x}", "%s", "{}", "#include"),
)
SHAPE = (3, 8, 8)
TAKEN = {*dir(nn.Module()), "", "__metadata__"}  # torch, or a file of tensors, refuses these


class Named(nn.Module):
    """Two layers of one inner module, one of them called twice, a buffer, and a head."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = [name or "empty" for name in names]
        inner, outer, again, buffer, head = self.names
        body = nn.Module()
        body.add_module(outer, nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)))
        body.add_module(again, nn.Conv2d(6, 6, 3, padding=1))
        body.register_buffer(buffer, torch.rand(6, 1, 1) + 0.5)
        self.add_module(inner, body)
        self.add_module(head, nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        inner, outer, again, buffer, head = self.names
        body = getattr(self, inner)
        x = relu(getattr(body, outer)(x)) * getattr(body, buffer)
        x = x + relu(getattr(body, again)(relu(getattr(body, again)(x))))
        return getattr(self, head)(x.mean((2, 3)))


def model_of(names: tuple[str, ...]) -> Named:
    torch.manual_seed(0)
    return Named(names).eval()


LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters=".")
NAMES = st.text(LETTERS, max_size=4).filter(lambda name: name not in TAKEN)


@pytest.mark.slow
@settings(max_examples=25, phases=(Stage.generate,))
@given(st.lists(NAMES.filter(lambda name: name not in TAKEN), min_size=5, max_size=5, unique=True))
def test_a_network_computes_the_same_whatever_its_names(names):
    check_network(tuple(names))


@pytest.mark.parametrize("names", TOGETHER, ids=ascii)
def test_names_that_are_easily_mistaken(names):
    check_network(names)


def check_network(names: tuple[str, ...]) -> None:
    model = model_of(names)
    graph, tensors = agree(model, *SHAPE), tensors_of(model)
    inner, outer, again, _, head = model.names
    paths = [f"{inner}.{outer}.0", f"{inner}.{again}", head]
    assert {"weight": f"{head}.weight", "bias": f"{head}.bias"} in [
        dict(operator.parameters) for operator in graph.operators
    ]
    for path in paths:
        kept = trace(model, torch.zeros(SHAPE), ignored_layers=(path,), min_channels={path: 1})
        assert {graph_weight(kept, name) for name in kept.ignored_layers} == {f"{path}.weight"}
        assert kept.min_channels.keys() == set(kept.ignored_layers)
    network = Network(graph, tensors).eval()
    assert network.tensors().keys() == tensors.keys() - {f"{inner}.{outer}.1.num_batches_tracked"}
    for name, tensor in network.tensors().items():
        assert torch.equal(tensor, tensors[name])
    smaller = shrunk_as_masked(network, masks(graph, 1))
    stored = unpack_network(pack_network(smaller.graph, smaller.tensors(), {}))
    inputs = torch.randn(4, *SHAPE)
    with torch.no_grad():
        assert torch.equal(stored.module()(inputs), smaller(inputs))
    agree(smaller, *SHAPE)  # a network of the engine is a module like any other
    assert QuantizedNetwork(stored.graph, stored.tensors, inputs)(inputs).isfinite().all()
    check_integers(stored.graph, stored.tensors, inputs)


def graph_weight(graph, name: str) -> str:
    return graph[name].parameters["weight"]


def check_integers(graph, tensors, inputs: Tensor) -> None:
    integers = lower(graph, tensors, calibrate(graph, tensors, inputs))
    codes = reference(integers, integers.quantized(inputs))[integers.outputs[0]]
    code = integers.codes[integers.outputs[0]]
    expected = (codes.reshape(4, -1).astype(np.float64) - code.zero_point) * code.scale
    found = Evaluator(integers)(inputs).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        wanted = Network(graph, tensors).eval()(inputs)
    assert (torch.from_numpy(found) - wanted).abs().max() < 0.2 * wanted.abs().max()


@pytest.mark.parametrize("names", TOGETHER, ids=ascii)
def test_training_keeps_every_tensor_under_its_name(names, device):
    """States are stored and read back after every epoch, as a sweep does."""
    model = model_of(names)
    graph = trace(model, torch.zeros(SHAPE))
    job = Job(
        data=synthetic(shape=SHAPE, classes=3, train=48, validation=16, test=16),
        task=Task(optimizer=sgd(lr=0.02), augment=lambda batch, _: batch, batch_size=16),
        recipe=(
            Phase(kind=PhaseKind.PRUNE, epochs=2),
            Phase(kind=PhaseKind.FINETUNE, epochs=1),
        ),
        seed=0,
        device=device,
        budget=Budget(flash_bytes=int(0.8 * deployed(graph, device).dense.flash_bytes)),
        pruning=Pruning(update_interval=1, removal_interval=1, sensitivity_samples=16),
    )
    state = TrainState.begin(graph, tensors_of(model), job)
    for _ in train(state, job):
        again = unpack_state(pack_state(state), job)
        assert again.network.tensors().keys() == state.network.tensors().keys()
        for (name, left), right in zip(
            state.network.trained().items(), again.network.trained().values(), strict=True
        ):
            assert torch.equal(left, right)
            ours, theirs = state.optimizer.state[left], again.optimizer.state[right]
            assert torch.equal(ours["momentum_buffer"], theirs["momentum_buffer"]), name
    assert job.budget.holds(state.history[-1].cost)
    assert isinstance(state.stage, Pruned)
    explanation = state.stage.explanation
    groups = [report.name for report in explanation.groups]
    assert groups == [group.name for group in graph.channels.groups]
    told = json.loads(json.dumps(asdict(explanation)))
    assert explanation_from_json(told) == explanation


@pytest.mark.slow
@needs_cc
@pytest.mark.parametrize("names", TOGETHER, ids=ascii)
def test_generated_c_is_code_whatever_the_names(names, tmp_path):
    model = model_of(names)
    graph, tensors = trace(model, torch.zeros(SHAPE)), tensors_of(model)
    inputs = torch.randn(4, *SHAPE)
    integers = lower(graph, tensors, calibrate(graph, tensors, inputs))
    codes = integers.quantized(inputs)
    (found,) = answers(compiled(written(integers, tmp_path)), integers, codes)
    assert np.array_equal(found, reference(integers, codes)[integers.outputs[0]])


class Colliding(nn.Module):
    """A constant operand of a value that is called as the constant would be."""

    def __init__(self) -> None:
        super().__init__()
        self.mul = nn.Module()
        self.mul.operand = nn.Conv2d(3, 4, 1)
        self.factor = nn.Parameter(torch.tensor([8.0, 0.1, 1.0, 3.0]).reshape(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.mul.operand(x) * self.factor
        return x.mean((2, 3))


def test_a_constant_operand_has_a_name_of_its_own():
    torch.manual_seed(0)
    model = Colliding().eval()
    graph = trace(model, torch.zeros(SHAPE))
    assert {"mul", "mul.operand"} <= {operator.name for operator in graph.operators}
    check_integers(graph, tensors_of(model), torch.randn(4, *SHAPE))


@pytest.mark.parametrize("name", ["\ud800", "__metadata__"])
def test_names_that_no_file_can_hold_are_refused(name):
    class Bare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * getattr(self, name)

    model = Bare()
    model.register_parameter(name, nn.Parameter(torch.ones(3, 1, 1)))
    with pytest.raises(UnsupportedOperatorError, match="rename the module or tensor"):
        trace(model, torch.zeros(SHAPE))
