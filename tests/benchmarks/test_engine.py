"""How much the engine costs beside training, as ratios within one run (make bench).

Nothing is asserted of time: machines differ. The ratios are printed.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pruning.allocation.geometric_program import LossModel, best_widths
from pruning.budget import Budget
from pruning.cost.model import deployed
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.training.job import Pruning
from tests.benchmarks.device import MCU
from tests.pruning.zoo import ZOO

pytestmark = pytest.mark.bench


def median_seconds(work: Callable[[], object], repeats: int = 9) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[repeats // 2]


@pytest.mark.parametrize("name", ZOO)
def test_cost_and_gradient_beside_a_training_step(name, capsys):
    make, shape = ZOO[name]
    net = make()
    began = time.perf_counter()
    graph = trace(net, torch.zeros(shape))
    traced = time.perf_counter() - began
    network = Network(graph, net.state_dict()).train()
    batch = torch.randn(64, *shape)

    def train_step() -> None:
        network(batch).square().mean().backward()

    model = deployed(graph, MCU)  # as a sweep counts
    sizes = np.array(graph.channels.widths, dtype=float)
    prunable = np.array([group.prunable for group in graph.channels.groups])
    dense, low = model.dense, np.where(prunable, 1.0, sizes)
    budget = Budget(
        flash_bytes=dense.flash_bytes // 4,
        sram_bytes=dense.sram_bytes // 2,
        latency_ms=dense.latency_ms / 4,
    )
    loss = LossModel(prunable.astype(float), sizes)
    near = best_widths(model, budget, loss, low, sizes).widths

    def update() -> None:  # what pruning does every `Pruning.every` steps
        best_widths(model, budget, loss, low, sizes, near)

    step, exact = (
        median_seconds(train_step, 3),
        median_seconds(lambda: model.cost(sizes.astype(int))),
    )
    share = median_seconds(update) / Pruning().update_interval / step
    with capsys.disabled():
        print(
            f"\n{name}: of a training step of 64: exact cost {exact / step:.2%}, best widths "
            f"{share:.2%} (one in {Pruning().update_interval} steps), "
            f"tracing once {traced / step:.1f}x"
        )
    assert model.cost(graph.channels.widths).flash_bytes > 0
