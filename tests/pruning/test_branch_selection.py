"""Which residual branches vanish."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from pruning.allocation.allocate import Allocation
from pruning.allocation.explain import Reason, Start
from pruning.allocation.registry import METHODS
from pruning.budget import Budget
from pruning.cost.memory.peak import MemoryConventions
from pruning.cost.model import Encoding
from pruning.data import synthetic
from pruning.errors import DivergedError
from pruning.frontend.trace import trace
from pruning.graph.shrink import shrink_graph, without
from pruning.tasks import Task, sgd
from pruning.training.batchwise import finished
from pruning.training.branch_selection import loss_after, select_branches
from pruning.training.job import Job, Phase, PhaseKind, Pruning
from pruning.training.prune_phase import open_masks, prune
from pruning.training.sensitivity import (
    branch_rises,
    loss_under,
    measure_sensitivity,
    samples_of,
)
from pruning.training.state import Pruned, TrainState, optimizer_tensors
from pruning.training.train import train
from tests.pruning.networks import Net, block


class Two(nn.Module):
    """Two residual blocks, of which the first sees nothing of use: its input is silenced."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.idle, self.busy = self.branch(), self.branch()
        self.last = nn.Linear(12, 4)

    @staticmethod
    def branch() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(12, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12),
        )  # fmt: skip

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.idle(x))
        x = torch.relu(x + self.busy(x))
        return self.last(x.mean((2, 3)))


def job_of(device, share=1.25, **settings) -> Job:
    return Job(
        data=synthetic(train=256, validation=32, test=32, noise=0.7),
        task=Task(optimizer=sgd(lr=0.05), batch_size=32),
        recipe=(
            Phase(kind=PhaseKind.DENSE, epochs=3, lr_factor=(1.0, 1.0)),
            Phase(kind=PhaseKind.PRUNE, epochs=2, lr_factor=(1.0, 1.0)),
        ),
        seed=1,
        device=device,
        # Which branch looks the cheaper depends on how costs are counted.
        encoding=Encoding.INT8,
        conventions=MemoryConventions(),
        pruning=Pruning(
            update_interval=2,
            removal_interval=4,
            sensitivity_samples=256,
            selection_share=share,
            **settings,
        ),
    )


def ready(job: Job) -> TrainState:
    """Trained densely, with open gates and a first measurement."""
    torch.manual_seed(0)
    state = TrainState.begin(trace(model := Two(), torch.zeros(1, 8, 8)), model.state_dict(), job)
    dense = replace(job, recipe=job.recipe[:1])
    list(train(state, dense))
    with torch.no_grad():  # what the idle branch says comes to nothing, whatever it computes
        state.network.tensors()["idle.4.weight"].zero_()
        state.network.tensors()["idle.4.bias"].zero_()
    open_masks(state, job)
    mask = torch.ones(state.graph.channels.units, requires_grad=True)
    inputs = job.data.normalise(job.data.train.inputs[:64])
    job.task.loss(state.network(inputs, mask), job.data.train.targets[:64]).backward()
    state.masked().masks.update_saliency(mask.grad, 0.0)
    finished(measure_sensitivity(state, job))
    return state


def tight(job: Job, state: TrainState, share: float) -> Job:
    dense = job.cost_model(state.graph).dense
    return replace(job, budget=Budget(flash_bytes=int(dense.flash_bytes * share)))


def names(state: TrainState) -> set[str]:
    return {operator.name for operator in state.graph.operators}


def test_measurements_find_the_idle_branch(device):
    job = job_of(device)
    state = ready(job)
    groups = state.graph.channels.groups
    rises = {groups[i].name: rise for i, rise in finished(branch_rises(state, job)).items()}
    assert rises.keys() == {"idle.0", "busy.0"}
    assert rises["idle.0"] == pytest.approx(0.0, abs=0.05)
    assert rises["busy.0"] > 2 * abs(rises["idle.0"])


@pytest.mark.slow
def test_under_a_tight_budget_the_idle_branch_goes(device):
    job = job_of(device)
    state = ready(job)
    finished(select_branches(state, tight(job, state, 0.1)))
    assert "idle.0" not in names(state)
    assert len(state.masked().masks.sizes) == len(state.graph.channels.groups)


@pytest.mark.slow
def test_without_a_selection_no_branch_goes(device):
    for settings in ({"share": 0.0}, {"allocation": Allocation(remove_branches=False)}):
        job = job_of(device, **settings)
        state = ready(job)
        before = names(state)
        finished(select_branches(state, tight(job, state, 0.1)))
        assert names(state) == before


@pytest.mark.slow
def test_a_selection_that_changes_nothing_leaves_no_trace(device):
    job = job_of(device)
    state = ready(job)
    job = tight(job, state, 0.35)  # the idle branch learns in a candidate, and is of use in the end
    samples = samples_of(job, 256, 0)
    tensors = {name: t.clone() for name, t in state.network.tensors().items()}
    memory = {
        n: {k: t.clone() for k, t in e.items()}
        for n, e in optimizer_tensors(state.optimizer, state.network).items()
    }
    random = torch.random.get_rng_state()
    whole = finished(loss_under(state, job, samples, state.masked().masks.kept))
    finished(select_branches(state, job))
    assert "idle.0" in names(state)
    for name, tensor in state.network.tensors().items():
        assert torch.equal(tensor, tensors[name]), name
    for name, entries in optimizer_tensors(state.optimizer, state.network).items():
        assert all(torch.equal(entries[key], memory[name][key]) for key in memory[name]), name
    assert finished(loss_under(state, job, samples, state.masked().masks.kept)) == whole
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.slow
def test_the_explanation_names_what_went(device):
    job = job_of(device)
    state = ready(job)
    start = Start.of(job.cost_model(state.graph))
    job = tight(job, state, 0.1)
    state = TrainState.begin(state.graph, state.network.tensors(), job)
    list(train(state, replace(job, recipe=job.recipe[1:])))
    assert isinstance(state.stage, Pruned)
    found = state.stage.explanation
    assert found is not None
    assert {report.name for report in found.groups} == set(start.widths)
    gone = [report.name for report in found.groups if report.reason is Reason.VANISHED]
    left = {group.name for group in state.graph.channels.groups}
    assert all(name not in left for name in gone)
    assert {r.name: r.after for r in found.groups if r.after} == {
        start.owner[g.name]: g.size for g in state.graph.channels.groups
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_only_the_differentiable_allocation_selects_branches(device, method):
    job = job_of(device, allocation=Allocation(method=method))
    state = ready(job)
    before, state.masked().masks.sensitivity_runs = names(state), torch.tensor(0)
    job = tight(job, state, 0.1)
    finished(
        prune(state, job, 0.0, job.pruning.update_interval)
    )  # where the annealed budget asks for nothing yet
    assert (names(state) == before) == (method != "differentiable")
    assert bool(state.masked().masks.sensitivity_runs) == (method == "differentiable")


def test_where_the_budget_holds_no_candidate_is_trained(device):
    def never(*_):
        raise AssertionError("a candidate was trained")

    job = job_of(device)
    state = ready(job)
    job = replace(job, task=replace(job.task, loss=never))
    with pytest.raises(AssertionError, match="a candidate was trained"):
        finished(select_branches(state, tight(job, state, 0.9)))
    before = names(state)
    finished(select_branches(state, tight(job, state, 1.0)))
    assert names(state) == before


def selected(device, monkeypatch, losses: dict[tuple[str, ...], float], **settings):
    """A selection whose candidates end with these losses, by the groups that are gone."""
    job = job_of(device, **settings)
    state = ready(job)
    ran = []

    def end(state, job, gone):
        ran.append(tuple(state.graph.channels.groups[index].name for index in gone))
        yield
        return losses[ran[-1]]

    monkeypatch.setattr("pruning.training.branch_selection.loss_after", end)
    groups = {group.name for group in state.graph.channels.groups}
    finished(select_branches(state, tight(job, state, 0.1)))
    left = {group.name for group in state.graph.channels.groups}
    return ran, groups - left


WHOLE, IDLE, BUSY, BOTH = (), ("idle.0",), ("busy.0",), ("idle.0", "busy.0")


@pytest.mark.parametrize(("loss", "gone"), [(0.9, {"idle.0"}), (1.04, {"idle.0"}), (1.06, set())])
def test_a_close_result_goes_to_the_network_with_fewer_branches(device, monkeypatch, loss, gone):
    _, went = selected(device, monkeypatch, {WHOLE: 1.0, IDLE: loss, BUSY: 2.0, BOTH: 2.0})
    assert went == gone


@pytest.mark.slow
def test_close_results_do_not_add_up(device, monkeypatch):
    """Only the first branch may go though its candidate was a little worse."""
    _, went = selected(device, monkeypatch, {WHOLE: 1.0, IDLE: 0.9, BUSY: 2.0, BOTH: 0.92})
    assert went == {"idle.0"}
    _, went = selected(device, monkeypatch, {WHOLE: 1.0, IDLE: 1.03, BUSY: 2.0, BOTH: 1.04})
    assert went == {"idle.0"}


def test_the_best_of_those_that_win_goes_first(device, monkeypatch):
    losses = {WHOLE: 1.0, IDLE: 0.9, BUSY: 0.8, BOTH[::-1]: 2.0}
    ran, went = selected(device, monkeypatch, losses)
    assert (ran[:3], went) == ([WHOLE, IDLE, BUSY], {"busy.0"})


@pytest.mark.slow
def test_branches_go_on_going_while_they_win(device, monkeypatch):
    ran, went = selected(device, monkeypatch, {WHOLE: 1.0, IDLE: 0.9, BUSY: 2.0, BOTH: 0.8})
    assert (ran, went) == ([WHOLE, IDLE, BUSY, BOTH], {"idle.0", "busy.0"})


@pytest.mark.parametrize(
    ("selection_candidates", "ran"), [(1, [WHOLE, IDLE]), (2, [WHOLE, IDLE, BUSY])]
)
def test_so_many_candidates_may_be_worse(device, monkeypatch, selection_candidates, ran):
    losses = {WHOLE: 1.0, IDLE: 1.5, BUSY: 1.5, BOTH: 0.1}
    assert selected(device, monkeypatch, losses, selection_candidates=selection_candidates) == (
        ran,
        set(),
    )


def bottlenecks(n, x):
    s = n.stem(x)
    for branch in (n.one, n.two, n.three):
        s = relu(s + branch(s))
    return n.head(s.mean((2, 3)))


def test_a_branch_of_two_groups_is_tried_once(device, monkeypatch):
    """Either group takes it along; a candidate is not compared with itself."""
    three = {
        name: nn.Sequential(block(12, 6, 1), block(6, 6), block(6, 12, 1, nn.Identity))
        for name in ("one", "two", "three")
    }
    module = Net(bottlenecks, stem=block(1, 12), head=nn.Linear(12, 4), **three)
    graph = trace(module, torch.zeros(1, 8, 8))
    job = job_of(device)
    state = TrainState.begin(graph, module.state_dict(), job)
    open_masks(state, job)
    finished(measure_sensitivity(state, job))
    ran = []

    def end(state, job, gone):
        left = shrink_graph(state.graph, without(state.graph, gone))
        ran.append({o.name.split(".")[0] for o in left.operators} & set(three))
        yield
        return float(len(ran[-1]))  # the fewer the better

    monkeypatch.setattr("pruning.training.branch_selection.loss_after", end)
    finished(select_branches(state, tight(job, state, 0.1)))
    assert [len(branches) for branches in ran] == [3, 2, 2, 1, 0]
    assert ran[1] != ran[2]
    assert not {o.name.split(".")[0] for o in state.graph.operators} & set(three)


def test_a_candidate_that_ends_without_a_number_is_the_worst(device, monkeypatch):
    job = job_of(device)
    state = ready(job)
    before = names(state)
    monkeypatch.setattr("pruning.training.sensitivity.loss_of_one", lambda *_: float("nan"))
    assert finished(loss_after(state, job, ())) == float("inf")
    with pytest.raises(DivergedError, match="without some channels is nan"):
        finished(measure_sensitivity(state, job))
    assert names(state) == before
