"""Training states: parts that fit together, and one way through the stages of pruning."""

from dataclasses import replace

import pytest
import torch

from pruning.allocation.explain import Start
from pruning.allocation.masks import ChannelMasks, inner_groups
from pruning.errors import CheckpointError, PruningError
from pruning.graph.shrink import without
from pruning.training.anneal import close_masks, discard, step_widths
from pruning.training.batchwise import finished
from pruning.training.checkpoint import pack_state, unpack_state
from pruning.training.job import Phase, PhaseKind
from pruning.training.prune_phase import finish_pruning, open_masks, prune
from pruning.training.sensitivity import branch_rises, measure_sensitivity
from pruning.training.state import DENSE, Masked, Pruned, TrainState
from pruning.training.surgery import fork
from pruning.training.train import train
from tests.pruning.jobs import make_job, starting, tiny

NEEDS_MASKS = {
    "step_widths": lambda state, job: step_widths(state, job, 0.5),
    "discard": discard,
    "close_masks": lambda state, job: close_masks(state, job, list(state.graph.channels.widths)),
    "finish_pruning": finish_pruning,
    "measure_sensitivity": lambda state, job: finished(measure_sensitivity(state, job)),
    "branch_rises": lambda state, job: finished(branch_rises(state, job)),
    "prune": lambda state, job: finished(prune(state, job, 0.5, job.pruning.update_interval)),
}


def start_of(state, job):
    return Start.of(job.cost_model(state.graph))


def masked_stage(state, job):
    return Masked(ChannelMasks.open(state.graph.channels), start_of(state, job))


@pytest.mark.parametrize("call", NEEDS_MASKS.values(), ids=NEEDS_MASKS)
def test_nothing_is_pruned_before_the_masks_open_or_after_they_close(device, call):
    job = make_job(device)
    state = starting(job)
    with pytest.raises(PruningError, match="pruning has not begun"):
        call(state, job)
    state.enter(masked_stage(state, job))
    close_masks(state, job, list(state.graph.channels.widths))
    with pytest.raises(PruningError, match="pruning has ended"):
        call(state, job)


def test_pruning_goes_through_its_stages_in_turn(device):
    job = make_job(device)
    state = starting(job)
    with pytest.raises(PruningError, match="from dense to pruned"):
        state.enter(Pruned(start_of(state, job), None))
    state.enter(masked_stage(state, job))
    for stage in (masked_stage(state, job), DENSE):
        with pytest.raises(PruningError, match="from masked to"):
            state.enter(stage)
    open_masks(state, job)  # they are open: nothing happens
    state.masked().masks.kept[0] = False
    with pytest.raises(PruningError, match="1 channels are still masked"):
        state.enter(Pruned(start_of(state, job), None))
    finish_pruning(state, job)
    assert isinstance(state.stage, Pruned)
    with pytest.raises(PruningError, match="from pruned to dense"):
        state.enter(DENSE)
    open_masks(state, job)  # a second prune phase
    assert state.masked().start.cost == job.cost_model(state.graph).dense


def test_parts_that_do_not_belong_together_are_refused(device):
    job = make_job(device)
    state, other = starting(job), starting(job)
    with pytest.raises(PruningError, match="SGD has no parameter of the network"):
        TrainState(state.network, other.optimizer)
    inner = inner_groups(other.graph).index(True)
    stage = masked_stage(fork(other, job, without(other.graph, [inner])), job)
    with pytest.raises(PruningError, match="do not fit a network of"):
        TrainState(state.network, state.optimizer, stage)
    with pytest.raises(PruningError, match="do not fit a network of"):
        state.enter(stage)
    (epoch, *_) = train(other, job)
    with pytest.raises(PruningError, match=r"numbered \[2\]"):
        TrainState(state.network, state.optimizer, history=[replace(epoch, epoch=2)])
    with pytest.raises(PruningError, match=r"numbered \[3\]"):
        state.append(replace(epoch, epoch=3))
    assert state.history == ()


def test_a_state_becomes_only_one_of_the_same_moment(device):
    job = make_job(device)
    state, later = starting(job), starting(job)
    next(train(later, job))
    with pytest.raises(PruningError, match="dense after epoch 0 cannot become one that is dense"):
        state.become(later)
    pruning = fork(state, job, without(state.graph, []))
    open_masks(pruning, job)
    with pytest.raises(PruningError, match="cannot become one that is masked after epoch 0"):
        state.become(pruning)


def test_parts_change_by_methods_alone(device):
    state = starting(make_job(device))
    for name in ("network", "optimizer", "stage", "history", "epoch", "graph"):
        with pytest.raises(AttributeError):
            setattr(state, name, None)


def test_a_fork_shares_nothing_with_its_state(device):
    job = make_job(device)
    state = starting(job)
    open_masks(state, job)
    copy = fork(state, job, without(state.graph, []))
    assert copy.history == state.history
    copy.masked().masks.kept[:] = False
    for tensor in copy.network.tensors().values():
        tensor.data.zero_()
    assert state.masked().masks.kept.all()
    assert any(bool(tensor.any()) for tensor in state.network.tensors().values())


def test_a_state_from_within_a_prune_phase_needs_its_recipe(device):
    job = make_job(device)
    state = starting(job)
    run = train(state, job)
    for _ in range(2):
        next(run)
    run.close()
    dense, pruning, finetuning = job.recipe
    recipe = (dense, replace(pruning, epochs=1), replace(finetuning, epochs=3))
    other = replace(job, recipe=recipe)
    resumed = unpack_state(pack_state(state), other)
    with pytest.raises(PruningError, match="epoch 3 is of a finetune phase"):
        next(train(resumed, other))


@pytest.mark.parametrize("lost", ["start", "masks", "epochs"])
def test_a_stored_state_whose_parts_do_not_fit_is_damaged(device, monkeypatch, lost):
    """Its checksums are right: it was written so."""
    job = make_job(device)
    state = starting(job)
    open_masks(state, job)
    if lost == "start":
        monkeypatch.setattr("pruning.training.checkpoint.asdict", lambda _: None)
    elif lost == "masks":
        state.masked().masks.kept = torch.ones(3, dtype=torch.bool)
    else:
        monkeypatch.setattr(TrainState, "epoch", 4)
    content = pack_state(state)
    monkeypatch.undo()
    with pytest.raises(CheckpointError):
        unpack_state(content, job)


def test_two_prune_phases(device):
    job = make_job(device)
    phase = Phase(kind=PhaseKind.PRUNE, epochs=1, lr_factor=(0.8, 0.5))
    job = replace(job, recipe=(phase, phase))
    state = starting(job)
    stored = []
    for _ in train(state, job):
        assert isinstance(state.stage, Pruned)
        stored.append(pack_state(state))
    resumed = unpack_state(stored[0], job)
    list(train(resumed, job))
    assert resumed.stage == state.stage
    assert resumed.graph == state.graph
    assert tiny()[0].channels.units > state.graph.channels.units
