"""Methods of allocation: those of paring by name, and one's own as an object."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pruning.allocation.allocate import Allocation, allocate
from pruning.allocation.baselines import Greedy
from pruning.allocation.differentiable import Differentiable
from pruning.allocation.masks import ChannelMasks, inner_groups
from pruning.allocation.method import Method, Problem, Traits
from pruning.allocation.project import project
from pruning.allocation.registry import METHODS, method_named, name_of
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.errors import PruningError


@dataclass(frozen=True)
class Share(Method):
    """A share of every group's channels, whatever the budget."""

    share: float = 0.5

    def widths(self, problem: Problem) -> list[float]:
        return [self.share * int(size) for size in problem.masks.sizes]


@dataclass(frozen=True)
class Emptying(Method):
    """No channel in the groups of these indices."""

    groups: tuple[int, ...]
    traits = Traits(vanishing=True)

    def widths(self, problem: Problem) -> list[float]:
        empty = enumerate(problem.groups)
        return [0.0 if index in self.groups else group.size for index, group in empty]


@dataclass(frozen=True)
class Fixed(Method):
    """Whatever is given."""

    given: object

    def widths(self, problem: Problem) -> object:  # noqa: ARG002
        return self.given


@pytest.fixture(scope="module")
def model(small, device) -> CostModel:
    return CostModel(small("resnet8")[0], device)


def opened(model: CostModel) -> ChannelMasks:
    masks = ChannelMasks.open(model.graph.channels)
    masks.saliency = torch.rand(model.graph.channels.units)
    return masks


@pytest.mark.parametrize("name", METHODS)
def test_a_name_stands_for_its_method(name: str):
    assert Allocation(method=name).method is METHODS[name]
    assert name_of(METHODS[name]) == name
    assert name_of(type(METHODS[name])()) == name


def test_the_default_is_the_differentiable_one():
    assert Allocation() == Allocation(method="differentiable")
    assert Allocation().method == Differentiable() != Greedy()


def test_an_unknown_name_is_told_the_nearest_first():
    with pytest.raises(PruningError, match=r"method 'gredy': write one of greedy, .*uniform"):
        Allocation(method="gredy")
    assert method_named(Share()) == Share()


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0, 7.0])
@pytest.mark.parametrize("part", [0.2, 0.6, 1.0])
def test_whatever_ones_own_gives_the_budget_holds(model: CostModel, share: float, part: float):
    dense = model.dense
    budget = Budget(flash_bytes=int(dense.flash_bytes * part), latency_ms=dense.latency_ms * part)
    masks, how = opened(model), Allocation(method=Share(share))
    allocate(masks, model, budget, how)
    for group, width in zip(model.graph.channels.groups, masks.widths.tolist(), strict=True):
        assert width == (min(share, 1.0) * group.size if group.prunable else group.size)
    assert budget.holds(model.cost(project(masks, model, budget, how)))


def test_ones_own_begins_where_it_says(model: CostModel):
    """Far from the budget, what is projected are the widths that were given, filled up."""
    masks, how = opened(model), Allocation(method=Share(0.5))
    budget = Budget(macs=model.dense.macs - 1)
    widths = project(masks, model, budget, how)
    sizes = model.graph.channels.widths
    assert all(width >= size // 2 for width, size in zip(widths, sizes, strict=True))
    assert model.dense.macs * 0.9 < model.cost(widths).macs < model.dense.macs


def test_ones_own_may_remove_branches(model: CostModel):
    index = inner_groups(model.graph).index(True)
    masks, how = opened(model), Allocation(method=Emptying((index,)))
    budget = Budget(macs=model.dense.macs - 1)
    allocate(masks, model, budget, how)
    assert masks.widths[index] == 0
    assert project(masks, model, budget, how)[index] == 0
    with pytest.raises(PruningError, match=r"Emptying leaves no channel in .*remove_branches"):
        allocate(masks, model, budget, Allocation(method=how.method, remove_branches=False))


def test_ones_own_cannot_leave_nothing(model: CostModel):
    everything = tuple(range(len(model.graph.channels.groups)))
    how = Allocation(method=Emptying(everything))
    with pytest.raises(PruningError, match=r"leaves no channel in .*Give at least 1"):
        allocate(opened(model), model, Budget(), how)


@pytest.mark.parametrize("given", [[4.0], [], 3.0, "nan", "negative", "infinite"])
def test_what_is_no_width_of_this_network_is_refused(model: CostModel, given: object):
    odd = {"nan": np.nan, "negative": -1.0, "infinite": np.inf}
    if isinstance(given, str):
        given = np.full(len(model.graph.channels.groups), odd[given])
    with pytest.raises(PruningError, match=r"method Fixed gives .*groups: give one finite"):
        allocate(opened(model), model, Budget(), Allocation(method=Fixed(given)))


@pytest.mark.parametrize("kind", [list, np.asarray, torch.tensor])
def test_widths_may_be_a_list_an_array_or_a_tensor(model: CostModel, kind):
    sizes = [float(size) for size in model.graph.channels.widths]
    masks = opened(model)
    allocate(masks, model, Budget(), Allocation(method=Fixed(kind(sizes))))
    assert masks.widths.tolist() == sizes
