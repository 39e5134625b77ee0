"""Training: resumed is uninterrupted, budgets are kept, failures say so."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from pruning.allocation.allocate import Allocation
from pruning.allocation.masks import inner_groups
from pruning.allocation.registry import METHODS
from pruning.budget import Budget
from pruning.cost.model import CostModel, bottlenecks
from pruning.data import Augment, Split, assemble, digits, synthetic
from pruning.errors import BudgetError, DivergedError, PruningError
from pruning.execution.fake_quant import FakeQuant, QuantizedNetwork
from pruning.execution.network import Network
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.fusion import fuse
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors, without
from pruning.tasks import Task, adamw, sgd
from pruning.training.checkpoint import pack_network, pack_state, unpack_state
from pruning.training.job import Accelerator, Job, Phase, PhaseKind, Pruning
from pruning.training.prune_phase import magnitudes, open_masks
from pruning.training.state import Pruned
from pruning.training.surgery import remove
from pruning.training.train import (
    CALIBRATION,
    Epoch,
    TrainState,
    evaluate,
    int8_codes,
    placed,
    rounding_of,
    train,
    widths_of,
)
from tests.pruning.jobs import Tiny, make_job, starting, tiny


def timeless(epochs: Sequence[Epoch]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in epochs]


def snapshot(state: TrainState) -> bytes:
    """Everything that is stored, but for the seconds."""
    history = timeless(state.history)
    return pack_state(TrainState(state.network, state.optimizer, state.stage, history))


def pruning_by(method: str, remove_branches: bool = True) -> Pruning:
    allocation = Allocation(method=method, remove_branches=remove_branches)
    return Pruning(update_interval=2, removal_interval=3, reserve=0.05, allocation=allocation)


MOVED = Augment(shift=1, noise=0.2)
PLAIN = sgd(lr=0.05, momentum=0.0, nesterov=False)
VARIANTS = {
    "sgd": {},
    "adamw": {"task": Task(optimizer=adamw(), augment=MOVED, batch_size=16)},
    "plain-sgd": {"task": Task(optimizer=PLAIN, batch_size=20)},
    "whole-branches": {"pruning": pruning_by("differentiable", remove_branches=False)},
    "greedy": {"pruning": pruning_by("greedy")},
    "uniform": {"pruning": pruning_by("uniform")},
    "magnitude": {"pruning": pruning_by("magnitude")},
    "bf16": {"accelerator": Accelerator(precision="bf16")},
}
QUICK = ("sgd", "adamw")


@pytest.mark.parametrize(
    "variant",
    [*QUICK, *(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS if v not in QUICK)],
)
def test_resumed_from_any_epoch_is_uninterrupted(device, variant):
    job = make_job(device, **VARIANTS[variant])
    whole = starting(job)
    stored = [pack_state(whole)]
    sizes = [whole.graph.channels.units]
    for _ in train(whole, job):
        stored.append(pack_state(whole))
        sizes.append(whole.graph.channels.units)
    assert [e.phase for e in whole.history] == ["dense", "prune", "prune", "prune", "finetune"]
    assert sizes[4] <= sizes[3] <= sizes[2] <= sizes[1] == sizes[0]
    assert isinstance(whole.stage, Pruned)
    found = whole.stage.explanation  # where a branch went, there may be room for all the others
    assert sizes[4] < sizes[3] or (found and all(g.after in (0, g.before) for g in found.groups))
    assert sizes[3] < sizes[0]  # channels were removed before the phase ended
    wanted = snapshot(whole)
    for epoch, content in enumerate(stored):
        torch.manual_seed(epoch)  # whatever happened to the global generator
        resumed = unpack_state(content, job)
        assert resumed.epoch == epoch
        rest = list(train(resumed, job))
        assert timeless(rest) == timeless(whole.history[epoch:])
        assert snapshot(resumed) == wanted


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_does_not(device):
    job = make_job(device)
    first, again = starting(job), starting(job)
    other_job = replace(job, seed=4)
    other = starting(other_job)
    for state, task in ((first, job), (again, job), (other, other_job)):
        list(train(state, task))
    assert snapshot(first) == snapshot(again)
    assert snapshot(first) != snapshot(other)


@pytest.mark.slow
def test_closing_the_generator_leaves_a_state_that_continues(device):
    job = make_job(device)
    whole, stopped = starting(job), starting(job)
    list(train(whole, job))
    run = train(stopped, job)
    next(run)
    next(run)
    run.close()
    assert stopped.epoch == 2
    list(train(stopped, job))
    assert snapshot(stopped) == snapshot(whole)
    assert list(train(stopped, job)) == []  # nothing is left to do


def test_leaving_the_loop_after_the_first_epoch(device):
    job = make_job(device)
    state = starting(job)
    for epoch in train(state, job):
        assert epoch.epoch == 1
        break
    assert (state.epoch, len(state.history)) == (1, 1)


def test_records(device):
    job = make_job(device)
    state = starting(job)
    dense = job.cost_model(state.graph).dense
    epochs = list(train(state, job))
    assert list(state.history) == epochs
    assert [e.epoch for e in epochs] == [1, 2, 3, 4, 5]
    assert epochs[0].cost == dense
    limits = job.limits(job.cost_model(state.graph))
    assert epochs[0].budget == epochs[-1].budget == limits
    flash = [e.budget.flash_bytes for e in epochs[1:]]
    assert flash == sorted(flash, reverse=True)
    assert flash[0] < dense.flash_bytes
    assert flash[-1] == job.budget.flash_bytes
    for epoch in epochs:
        assert 0 <= epoch.score <= 1
        assert epoch.seconds > 0
    last = epochs[-1]
    graph, tensors = state.result()
    assert last.widths == widths_of(graph)
    assert last.cost == epochs[3].cost == job.cost_model(graph).dense
    assert (
        last.bottleneck == bottlenecks(job.cost_model(graph), graph.channels.widths)["sram_bytes"]
    )
    assert last.score == evaluate(graph, tensors, job, job.data.validation)
    assert json.loads(json.dumps(asdict(last)))["phase"] == "finetune"


def test_result_in_mid_phase_is_the_masked_network(device):
    job = make_job(device, pruning=pruning_by("differentiable", remove_branches=False))
    state = starting(job)
    run = train(state, job)
    for _ in range(3):
        epoch = next(run)
    kept = state.masked().masks.kept
    assert not kept.all()
    graph, tensors = state.result()
    assert epoch.cost == job.cost_model(graph).dense
    assert epoch.widths == widths_of(graph)
    inputs = torch.randn(4, 1, 8, 8)
    state.network.eval()
    with torch.no_grad():
        masked = state.network(inputs, kept.float())
        torch.testing.assert_close(
            Network(graph, tensors).eval()(inputs), masked, rtol=1e-5, atol=1e-5
        )


def test_removal_keeps_what_the_optimizer_remembers(device):
    """The momentum of a channel that stays is that of the channel, not of its neighbour."""
    job = make_job(device)
    state = starting(job)
    next(train(state, job))
    before = {
        n: state.optimizer.state[p]["momentum_buffer"].clone()
        for n, p in state.network.trained().items()
    }
    open_masks(state, job)
    kept = torch.ones(state.graph.channels.units, dtype=torch.bool).numpy()
    group = next(g for g in state.graph.channels.groups if g.name == "inner.0")
    kept[group.start + 2] = False
    remove(state, job, kept)
    rows = [0, 1, 3, 4, 5, 6, 7]
    after = {
        n: state.optimizer.state[p]["momentum_buffer"] for n, p in state.network.trained().items()
    }
    assert torch.equal(after["inner.0.weight"], before["inner.0.weight"][rows])
    assert torch.equal(after["inner.3.weight"], before["inner.3.weight"][rows])
    assert torch.equal(after["inner.6.weight"], before["inner.6.weight"][:, rows])
    assert torch.equal(after["inner.1.bias"], before["inner.1.bias"][rows])
    assert torch.equal(after["last.weight"], before["last.weight"])
    assert len(state.masked().masks.kept) == state.graph.channels.units == len(kept) - 1


@pytest.mark.parametrize("method", list(METHODS))
def test_finished_networks_are_within_their_budget(device, method):
    pruning = Pruning(update_interval=2, removal_interval=4, allocation=Allocation(method=method))
    job = make_job(device, pruning=pruning)
    state = starting(job)
    last = list(train(state, job))[-1]
    assert job.budget.holds(last.cost)
    assert isinstance(state.stage, Pruned)
    assert state.graph.channels.widths == tuple(
        last.widths.get(g.name, g.size) for g in state.graph.channels.groups
    )


@pytest.mark.parametrize("method", list(METHODS))
def test_a_phase_too_short_for_any_update_still_ends_within_budget(device, method):
    pruning = Pruning(
        update_interval=1000, removal_interval=1000, allocation=Allocation(method=method)
    )
    recipe = (Phase(kind=PhaseKind.PRUNE, epochs=1),)
    job = make_job(device, pruning=pruning, recipe=recipe)
    state = starting(job)
    (epoch,) = train(state, job)
    assert job.budget.holds(epoch.cost)


PROGRAM = """
import json, sys
from pathlib import Path
from pruning.budget import Device
from pruning.training.checkpoint import unpack_network
from pruning.cost.model import CostModel, deployed
stored = unpack_network(Path(sys.argv[1]).read_bytes())
device = Device(**json.loads(sys.argv[2]))
plain = CostModel(stored.graph, device).dense.flash_bytes
sizes = {n: list(t.shape) for n, t in stored.tensors.items()}
cost = deployed(stored.graph, device).dense
numbers = cost.flash_bytes, cost.sram_bytes, cost.latency_ms, cost.macs
print(json.dumps([*numbers, plain, sizes]))
"""


@pytest.mark.slow
def test_the_stored_file_is_within_budget_in_a_fresh_process(device, tmp_path):
    job = make_job(device)
    state = starting(job)
    last = list(train(state, job))[-1]
    graph, tensors = state.result()
    (tmp_path / "network").write_bytes(pack_network(graph, tensors, {}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "network", json.dumps(asdict(device))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    flash, sram, latency, macs, plain, sizes = json.loads(done.stdout)
    assert (flash, sram, latency, macs) == (
        last.cost.flash_bytes, last.cost.sram_bytes, last.cost.latency_ms, last.cost.macs,
    )  # fmt: skip
    assert flash <= job.budget.flash_bytes
    assert sram <= job.budget.sram_bytes
    assert latency <= job.budget.latency_ms
    # And by hand: the tensors themselves are that small, the code's own records apart.
    weights = [s for n, s in sizes.items() if n.endswith("weight") and len(s) > 1]
    assert flash > plain == sum(torch.Size(s).numel() + 9 * s[0] for s in weights)


def test_a_diverging_run_says_so(device):
    task = Task(optimizer=sgd(lr=1e30), batch_size=16)
    job = make_job(
        device, task=task, recipe=(Phase(kind=PhaseKind.DENSE, epochs=3),), budget=Budget()
    )
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) in epoch 1; lower the learning"):
        list(train(starting(job), job))


def test_a_budget_out_of_reach_is_an_error_of_the_phase(device):
    job = make_job(device, budget=Budget(flash_bytes=10))
    with pytest.raises(BudgetError, match="flash_bytes 10 is below the least reachable"):
        list(train(starting(job), job))


def test_learning_rate_follows_the_phases(device):
    job = make_job(device)
    assert Phase(kind=PhaseKind.DENSE, epochs=1, lr_factor=(1.0, 0.2)).lr_factor_at(
        0.5
    ) == pytest.approx(0.6)
    assert [job.phase_at(e)[0].kind.value for e in range(5)] == [
        "dense", "prune", "prune", "prune", "finetune",
    ]  # fmt: skip
    assert [job.phase_at(e)[1] for e in range(5)] == [0, 0, 1, 2, 0]
    with pytest.raises(IndexError, match="after 5 epochs"):
        job.phase_at(5)
    state = starting(job)
    list(train(state, job))
    rates = {group["lr"] for group in state.optimizer.param_groups}
    assert len(rates) == 1
    assert 0 < rates.pop() < 0.05 * 0.5


def test_magnitudes_are_scales_where_there_are_batch_norms(device):
    job = make_job(device)
    state = starting(job)
    next(train(state, job))
    graph, tensors = state.graph, state.network.tensors()
    found = magnitudes(graph, tensors)
    groups = {g.name: g for g in graph.channels.groups}
    scales = (tensors["inner.1.weight"].abs() + tensors["inner.4.weight"].abs()) / 2
    torch.testing.assert_close(found[groups["inner.0"].units], scales.detach())
    rows = tensors["last.weight"].norm(dim=1)
    torch.testing.assert_close(found[groups["last"].units], rows.detach())


def test_magnitude_pruning_goes_by_magnitude_to_the_end(device):
    """Gradients of the mask must not leak into the ranking of the magnitude baseline."""
    pruning = Pruning(
        update_interval=1000, removal_interval=1000, allocation=Allocation(method="magnitude")
    )
    job = make_job(device, pruning=pruning, recipe=(Phase(kind=PhaseKind.PRUNE, epochs=1),))
    job = replace(job, task=replace(job.task, optimizer=sgd(lr=0.0, weight_decay=0.0)))
    state = starting(job)
    scale = state.network.tensors()["inner.1.weight"]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    scale.data.copy_((order + 1.0) / 10)
    state.network.tensors()["inner.4.weight"].data.fill_(0.5)
    list(train(state, job))
    left = sorted((state.network.tensors()["inner.1.weight"] * 10).round().tolist())
    assert 0 < len(left) < 8
    assert left == list(range(9 - len(left), 9))


@pytest.mark.slow
def test_digits_are_learnt_under_a_tight_budget(device):
    from pruning import models

    torch.manual_seed(0)
    model = models.resnet8(in_channels=1)
    data = digits()
    job = Job(
        data=data,
        task=Task(optimizer=adamw(), batch_size=64),
        recipe=(
            Phase(kind=PhaseKind.DENSE, epochs=5, lr_factor=(1.0, 0.8)),
            Phase(kind=PhaseKind.PRUNE, epochs=6, lr_factor=(0.8, 0.5)),
            Phase(kind=PhaseKind.FINETUNE, epochs=8, lr_factor=(0.5, 0.0)),
        ),
        seed=0,
        device=device,
        pruning=Pruning(update_interval=5, removal_interval=20),
    )
    graph = trace(model, torch.zeros(data.input_shape))
    dense = CostModel(graph, device).dense
    job = replace(job, budget=Budget(flash_bytes=dense.flash_bytes // 8))
    state = TrainState.begin(graph, model.state_dict(), job)
    last = list(train(state, job))[-1]
    assert job.budget.holds(last.cost)
    assert last.score > 0.93


@pytest.mark.slow
def test_where_shapes_are_dear_channels_go_when_much_of_the_work_goes(device, monkeypatch):
    job = make_job(device)
    often, seldom = starting(job), starting(job)
    list(train(often, job))
    monkeypatch.setattr(Accelerator, "worthwhile", 0.3)
    sizes = [seldom.graph.channels.units]
    work = [job.cost_model(seldom.graph).dense.macs]
    for _ in train(seldom, job):
        sizes.append(seldom.graph.channels.units)
        work.append(job.cost_model(seldom.graph).dense.macs)
    kept = [after / before for before, after in pairwise(work[:-2]) if after < before]
    assert all(share <= 0.7 for share in kept)  # but for the end of the phase
    assert job.budget.holds(job.cost_model(seldom.graph).dense)
    assert [e.phase for e in seldom.history] == [e.phase for e in often.history]
    monkeypatch.setattr(Accelerator, "worthwhile", 1.0)
    never = starting(job)
    units = [never.graph.channels.units for _ in train(never, job)]
    assert len(set(units[:3])) == 1
    assert units[3] < units[0]


def test_int8_aware_epochs_of_a_network_that_lost_its_branch(device):
    """Then one ReLU follows the other: both clamp what one kernel writes."""
    graph, tensors = tiny()
    inner = inner_groups(graph).index(True)
    kept = without(graph, (inner,))
    smaller = shrink_graph(graph, kept)
    assert [kernel.main.kind for kernel in fuse(smaller)] == ["conv", "pool", "linear"]
    recipe = (Phase(kind=PhaseKind.QUANTIZE, epochs=2, lr_factor=(0.5, 0.0)),)
    job = make_job(device, recipe=recipe)
    own = shrink_tensors(tensors, kept_axes(graph, kept))
    state = TrainState.begin(smaller, own, job)
    scores = [epoch.score for epoch in train(state, job)]
    assert len(scores) == 2
    assert scores[-1] == evaluate(*state.result(), job, job.data.validation)


def test_a_network_of_several_outputs_is_not_trained_by_halves(device):
    class Two(Tiny):
        def forward(self, x):
            return super().forward(x), self.stem(x)

    module = Two()
    graph = trace(module, torch.zeros(1, 8, 8))
    job = make_job(device)
    state = TrainState.begin(graph, module.state_dict(), job)
    with pytest.raises(PruningError, match=r"2 outputs \(last, stem\.2.*task trains one"):
        next(train(state, job))


def test_a_budget_needs_a_phase_that_prunes(device):
    job = make_job(device)
    bare = replace(job, recipe=(Phase(kind=PhaseKind.FINETUNE, epochs=1),))
    with pytest.raises(PruningError, match="no epoch of pruning"):
        next(train(starting(bare), bare))
    loose = replace(bare, budget=Budget())
    assert next(train(starting(loose), loose)).epoch == 1


def test_words_stand_for_phases_and_others_are_refused():
    assert Phase(kind="prune", epochs=1).kind is PhaseKind.PRUNE
    with pytest.raises(PruningError, match="write one of dense, prune"):
        Phase(kind="shrink", epochs=1)
    with pytest.raises(PruningError, match="epochs is -1"):
        Phase(kind="prune", epochs=-1)


def test_codes_come_from_all_over_a_sorted_training_set(device):
    """The values of later classes are far beyond those of the first."""
    torch.manual_seed(0)
    count, classes = 2 * CALIBRATION, 4
    targets = torch.arange(count) * classes // count
    levels = targets.view(-1, 1, 1, 1).float() ** 2
    split = Split(0.1 * torch.randn(count, 1, 8, 8) + levels, targets)
    job = make_job(device, data=assemble("sorted", split, split, split, "abcd"))
    graph, tensors = starting(job).result()
    assert int8_codes(graph, tensors, job)["input"].scale * 255 > 2.5


@pytest.mark.parametrize("samples", [65, 66])
def test_a_lone_last_sample_changes_little(device, samples):
    """It is left out, and its step with it: 64 samples are four steps of 16."""
    data = synthetic(train=samples, validation=32, test=32)
    job = make_job(device, data=data, pruning=Pruning(update_interval=4, removal_interval=4))
    assert job.prune_steps == 3 * (4 if samples == 65 else 5)
    state = starting(job)
    before = [epoch.cost.flash_bytes for epoch in train(state, job) if epoch.phase == "prune"]
    assert before[0] > before[1]


class Layerwise:
    """A group, and a rate, for every parameter."""

    def __call__(self, named):
        groups = [{"params": [p], "lr": 0.05 * 0.9**i} for i, p in enumerate(named.values())]
        return torch.optim.SGD(groups, lr=0.05, momentum=0.9)


def test_every_parameter_keeps_its_own_rate_when_a_branch_goes(device):
    job = make_job(device)
    job = replace(job, task=replace(job.task, optimizer=Layerwise()))
    state = starting(job)
    gone = without(state.graph, [i for i, may in enumerate(inner_groups(state.graph)) if may])
    remove(state, job, gone)
    left = [name for name, _ in state.network.trained().items()]
    first = starting(job)
    named = {
        name: group["lr"]
        for (name, _), group in zip(
            first.network.trained().items(), first.optimizer.param_groups, strict=True
        )
    }
    assert len(left) < len(named)
    assert [g["lr"] for g in state.optimizer.param_groups] == [named[name] for name in left]


def test_factored_moments_follow_their_channels(device):
    job = make_job(device)

    def adafactor(named):
        return torch.optim.Adafactor(named.values(), lr=0.01)

    job = replace(job, task=replace(job.task, optimizer=adafactor))
    state = starting(job)
    assert job.budget.holds(list(train(state, job))[-1].cost)


class Forgetful(torch.optim.SGD):
    """Counts in Python numbers, which no file and no removal would keep."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["seen"] = self.state[parameter].get("seen", 0) + 1
        return super().step(closure)


def test_an_optimizer_whose_memory_would_be_lost_is_refused(device):
    job = make_job(device)

    def forgetful(named):
        return Forgetful(named.values(), lr=0.01)

    job = replace(job, task=replace(job.task, optimizer=forgetful))
    with pytest.raises(PruningError, match="keeps 'seen' of a parameter as int"):
        list(train(starting(job), job))


def test_a_result_is_a_copy(device):
    job = make_job(device)
    state = starting(job)
    _, tensors = state.result()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    next(train(state, job))
    assert all(before[name].equal(tensor) for name, tensor in tensors.items())


def test_int8_aware_epochs_use_the_codes_of_their_score(device):
    """Where it is simulated, an average has codes of its own."""
    torch.manual_seed(0)
    pool = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    model = nn.Sequential(*pool, nn.Linear(36, 4))
    job = replace(make_job(device), scoring="int8-simulated", budget=Budget())
    state = TrainState.begin(trace(model, torch.zeros(1, 8, 8)), tensors_of(model), job)
    graph, tensors = state.result()
    scored = QuantizedNetwork(graph, *placed(tensors, job)).ranges
    codes = rounding_of(state, job).codes
    assert codes
    assert all(codes[name] == scored[name] for name in codes)
    assert codes != FakeQuant.of(graph, int8_codes(graph, tensors, job)).codes


def test_magnitudes_of_channels_without_a_norm_beside_some_with_one():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            normed, bare = self.conv(x).chunk(2, 1)
            return torch.cat([self.norm(normed), bare], 1).mean((2, 3))

    model = Half()
    found = magnitudes(trace(model, torch.zeros(1, 8, 8)), tensors_of(model))
    assert (found > 0).sum() >= 8


def test_seeds_may_be_large(device):
    job = make_job(device, seed=2**60)
    assert job.budget.holds(list(train(starting(job), job))[-1].cost)
