"""The same code on a GPU: budgets hold, checkpoints continue, integers are the arbiter's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from pruning import models
from pruning.allocation.allocate import Allocation
from pruning.allocation.registry import METHODS
from pruning.budget import Budget
from pruning.data import Augment, digits, synthetic
from pruning.deploy import Evaluator, reference
from pruning.frontend.trace import trace
from pruning.tasks import Task, sgd
from pruning.training.checkpoint import pack_state, unpack_state
from pruning.training.job import Accelerator, Phase, PhaseKind, Pruning
from pruning.training.train import TrainState, train
from tests.pruning.deploy.lowered import DEPLOYED, drawn, lowered, traced
from tests.pruning.jobs import make_job, starting

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
RECIPE = (
    Phase(kind=PhaseKind.DENSE, epochs=4, lr_factor=(0.2, 1.0)),
    Phase(kind=PhaseKind.PRUNE, epochs=4, lr_factor=(1.0, 0.6)),
    Phase(kind=PhaseKind.FINETUNE, epochs=3, lr_factor=(0.6, 0.2)),
    Phase(kind=PhaseKind.QUANTIZE, epochs=1, lr_factor=(0.2, 0.0)),
)
TASK = Task(optimizer=sgd(lr=0.1), augment=Augment(shift=1), batch_size=64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_budgets_hold_and_something_is_learned(device, method, precision):
    job = make_job(
        device,
        data=digits(),
        task=TASK,
        recipe=RECIPE,
        budget=Budget(flash_bytes=20_000, sram_bytes=2_500),
        pruning=Pruning(allocation=Allocation(method=method), selection_share=0.5),
        accelerator=Accelerator(device="cuda", precision=precision),
    )
    torch.manual_seed(0)
    net = models.resnet8(in_channels=1)
    state = TrainState.begin(trace(net, torch.zeros(1, 8, 8)), net.state_dict(), job)
    *_, last = train(state, job)
    assert all(p.device.type == "cuda" for p in state.network.parameters())
    assert job.budget.holds(last.cost)
    assert last.score > 0.8


def test_a_checkpoint_goes_from_one_to_the_other(device):
    on_gpu = make_job(device, accelerator=Accelerator(device="cuda"))
    on_cpu = replace(on_gpu, accelerator=Accelerator())
    state = starting(on_gpu)
    running = train(state, on_gpu)
    for _ in range(2):  # into the prune phase
        next(running)
    running.close()
    content = pack_state(state)
    for job in (on_cpu, on_gpu):
        resumed = unpack_state(content, job)
        assert [epoch.epoch for epoch in train(resumed, job)] == [3, 4, 5]
        assert job.budget.holds(job.cost_model(resumed.result()[0]).dense)


def test_data_stay_outside_a_gpu_that_they_would_fill(monkeypatch):
    accelerator, data = Accelerator(device="cuda"), synthetic()
    assert accelerator.hold(data).train.inputs.device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1, data.train.inputs.nbytes))
    assert accelerator.hold(data) is data


@pytest.mark.parametrize("name", DEPLOYED)
def test_integers_are_the_same(name):
    graph, tensors = traced(name)
    inputs = drawn(graph, 4)
    network = lowered(graph, tensors, inputs)
    values = reference(network, network.quantized((2 * inputs).numpy()))
    found = tree_leaves(Evaluator(network, "cuda")((2 * inputs).cuda()))
    for output, answer in zip(network.outputs, found, strict=True):
        code = network.codes[output]
        codes = np.rint(answer.double().cpu().numpy() / code.scale) + code.zero_point
        np.testing.assert_array_equal(codes.ravel(), values[output].ravel())
