"""Batch norm over rows of several pixels against torch, in fp64 and as it is."""

import pytest
import torch
from torch.autograd import grad
from torch.nn import functional

from pruning.ops import batch_norm as module
from pruning.ops.batch_norm import batch_norm

EPSILON, MOMENTUM = 1e-3, 0.1


@pytest.fixture
def always(monkeypatch):
    """Rows however few the elements."""
    monkeypatch.setattr(module, "MANY", 0)


def case(shape, dtype, seed=0):
    draw = torch.Generator().manual_seed(seed)
    channels = shape[1]
    values = 3 + 2 * torch.randn(shape, generator=draw)
    values[:, 0] += 20  # a mean far from zero
    values = values.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    scale = (torch.rand(channels, generator=draw) + 0.5).requires_grad_()
    shift = torch.randn(channels, generator=draw).requires_grad_()
    slope = torch.randn(shape, generator=draw).to(dtype)
    return values, scale, shift, slope


def run(norm, values, scale, shift, slope):
    mean, variance = torch.zeros(len(scale)), torch.ones(len(scale))
    result = norm(values, mean, variance, scale, shift, MOMENTUM, EPSILON)
    return result, *grad(result, (values, scale, shift), slope), mean, variance


def exact(values, mean, variance, scale, shift, momentum, epsilon):
    return functional.batch_norm(values, mean, variance, scale, shift, True, momentum, epsilon)


def distance(one, other):
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("shape", [(8, 6, 12, 12), (5, 10, 7, 9), (3, 1, 4, 4), (2, 15, 3, 5)])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 2e-5), (torch.bfloat16, 6e-3)])
def test_rows_are_the_batch_norm(always, shape, dtype, near):
    values, scale, shift, slope = case(shape, dtype)
    found = run(batch_norm, values, scale, shift, slope)
    assert type(found[0].grad_fn).__name__ == "RowsBackward"
    wide = values.detach().double().requires_grad_()
    mean, variance = torch.zeros(shape[1]).double(), torch.ones(shape[1]).double()
    right = exact(wide, mean, variance, scale.double(), shift.double(), MOMENTUM, EPSILON)
    slopes = grad(right, (wide, scale, shift), slope.double())
    for one, other in zip(found, (right, *slopes, mean, variance), strict=True):
        assert distance(one, other) < near
    assert found[0].dtype == found[1].dtype == dtype
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_a_gradient_in_another_order_of_memory(always):
    values, scale, shift, slope = case((4, 6, 8, 8), torch.float32)
    one, other = (
        run(batch_norm, values, scale, shift, slope.contiguous(memory_format=order))
        for order in (torch.channels_last, torch.contiguous_format)
    )
    assert all(map(torch.equal, one, other))


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((8, 10, 64, 64), torch.contiguous_format),  # channels come first
        ((8, 16, 64, 64), torch.channels_last),  # many channels
        ((1, 10, 64, 64), torch.channels_last),  # few elements
    ],
)
def test_what_torch_does_as_fast_is_left_to_torch(shape, order):
    values, scale, shift, slope = case(shape, torch.bfloat16)
    values = values.detach().contiguous(memory_format=order).requires_grad_()
    found = run(batch_norm, values, scale, shift, slope)
    assert all(map(torch.equal, found, run(exact, values, scale, shift, slope)))


@pytest.mark.slow
def test_networks_of_few_channels_train_by_rows(graph_of_narrow_network):
    network, batch = graph_of_narrow_network
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = network(batch.contiguous(memory_format=torch.channels_last))
    seen, waiting = set(), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    assert any(type(node).__name__ == "RowsBackward" for node in seen)


@pytest.fixture
def graph_of_narrow_network():
    from torch import nn

    from pruning.execution.network import Network
    from pruning.frontend.trace import trace

    layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
    net = nn.Sequential(layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    graph = trace(net, torch.zeros(3, 32, 32))
    return Network(graph, net.state_dict()).train(), torch.randn(64, 3, 32, 32)
