"""Studies that choose among networks and data: one dense network each, one front over all."""

import threading
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pruning.errors import BudgetError
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import unpack_network
from search.config.spec import Spec
from search.errors import ConfigError, StudyError
from search.results.report import study_record
from search.results.rerun import Again, rerun
from search.storage.trial_record import result_of
from search.storage.workspace import Workspace
from search.study import create
from search.study.prior import prior_trials
from search.study.sampling import GRID, TPE, chosen_sampler
from search.study.space import (
    check_space,
    parameters,
    require_narrower,
    suggest,
    variant_of,
    variants,
)
from search.study.study import Study, require_study
from search.study.trials import claim, sampled_params, trial_budget
from search.study.variants import Variants, facts_of
from search.worker.dense import is_in_training, training_lock
from search.worker.starts import Starts
from search.worker.stop_signals import StopMonitor
from search.worker.worker import work

Composed = Callable[..., Spec]
NESTED = {"model": {"resnet8": {"filters": [4, 6]}, "ds_cnn": {}}, "data.noise": [0.5]}


# --- spaces


def test_the_choices_of_a_group_have_spaces_of_their_own() -> None:
    check_space(NESTED)
    assert [(p.name, p.path, p.condition) for p in parameters(NESTED)] == [
        ("model", "model", None),
        ("model.resnet8.filters", "model.filters", ("model", "resnet8")),
        ("data.noise", "data.noise", None),
    ]
    assert variants(NESTED) == (
        {"model": "resnet8", "model.resnet8.filters": 4, "data.noise": 0.5},
        {"model": "resnet8", "model.resnet8.filters": 6, "data.noise": 0.5},
        {"model": "ds_cnn", "data.noise": 0.5},
    )


def test_what_does_not_apply_is_not_drawn() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), NESTED) for _ in range(20)]
    assert {tuple(values) for values in drawn} == {
        ("model", "model.resnet8.filters", "data.noise"),
        ("model", "data.noise"),
    }
    assert all(variant_of(NESTED, values) in variants(NESTED) for values in drawn)


def test_hyperparameters_of_the_pruning_make_no_variant() -> None:
    space = {"model.filters": [4, 8], "task.optimizer.lr": [0.1, 0.2], "method": ["uniform"]}
    check_space(space)
    assert variants(space) == ({"model.filters": 4}, {"model.filters": 8})
    assert variant_of(space, {"model.filters": 4, "method": "uniform"}) == {"model.filters": 4}
    assert variants({}) == ({},)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"model.filters": {"low": 4, "high": 8}}, "model.filters: .*is no list; every value"),
        ({"model": [3]}, "names no files of conf/model"),
        ({"model": "resnet8"}, "names no files of conf/model"),
        ({"method": {"custom": {"phases.dense_epochs": [3]}}}, "dense_epochs' is not a setting"),
        ({"model": {"resnet8": {"filters": []}}}, "model.filters: .* neither a list"),
    ],
)
def test_choices_that_no_dense_network_can_be_trained_for_are_refused(
    space: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        check_space(space)


def test_a_narrower_space_may_drop_a_choice_with_what_belongs_to_it() -> None:
    require_narrower({"model": ["ds_cnn"], "data.noise": [0.5]}, NESTED)
    require_narrower({**NESTED, "model": {"resnet8": {"filters": [4]}}}, NESTED)
    with pytest.raises(ConfigError, match="paths cannot change"):
        require_narrower({"model": ["resnet8"], "data.noise": [0.5]}, NESTED)
    with pytest.raises(ConfigError, match="vgg16"):
        require_narrower({"model": ["vgg16"], "data.noise": [0.5]}, NESTED)


def test_auto_is_a_grid_where_every_combination_fits_into_the_trials() -> None:
    assert chosen_sampler(NESTED, 4, 12) == chosen_sampler(NESTED, 4, None) == GRID
    assert chosen_sampler(NESTED, 4, 11) == TPE
    assert chosen_sampler({}, 4, None) == TPE
    assert chosen_sampler({**NESTED, "task.lr": {"low": 0.1, "high": 1.0}}, 4, None) == TPE


# --- studies


@pytest.fixture
def spec(compose_spec: Composed, tiny: list[str]) -> Spec:
    space = "{model: {resnet8: {filters: [4, 6]}, ds_cnn: {filters: [8]}}, data.noise: [0.5]}"
    return compose_spec(
        *[t for t in tiny if "filters" not in t], f"+space={space}", "+data.noise=1.0"
    )


def test_the_files_of_a_group_are_stored_with_the_study(spec: Spec) -> None:
    assert spec["choices"]["model"].keys() == {"resnet8", "ds_cnn"}
    assert spec["model"] == spec["choices"]["model"]["resnet8"]
    changed = spec.replaced({"model": "ds_cnn", "model.ds_cnn.filters": 8, "data.noise": 0.5})
    assert changed["model"] == {**spec["choices"]["model"]["ds_cnn"], "filters": 8}
    assert changed["data"]["noise"] == 0.5


def test_a_file_that_there_is_not_is_named(compose_spec: Composed, tiny: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"space: model=resnet9: .*no such model"):
        compose_spec(*tiny, "+space={model: [resnet8, resnet9]}")


@pytest.mark.slow
def test_every_variant_has_one_dense_network_and_one_trial_for_each_budget(
    workspace: Workspace, spec: Spec
) -> None:
    study = create.prepare(workspace, "s", spec, None)
    names = [facts.name for facts in study.facts.variants]
    assert names == [
        "model=resnet8, model.resnet8.filters=4, data.noise=0.5",
        "model=resnet8, model.resnet8.filters=6, data.noise=0.5",
        "model=ds_cnn, model.ds_cnn.filters=8, data.noise=0.5",
    ]
    work(workspace.config, "s", threads=1)
    study = require_study(workspace, "s")
    trials = study.trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    crossed = Counter((facts_of(study, t.params).name, trial_budget(t)) for t in trials)
    assert crossed == Counter(product(names, study.budgets))
    assert study.notes().dense.keys() == {facts.dense_key for facts in study.facts.variants}
    record = study_record(study)
    assert [dense.name for dense in record.dense] == names
    assert {trial.variant for trial in record.trials} == set(names)
    _check_costs(study)
    _check_rerun(study, trials[-1].number)


def _check_costs(study: Study) -> None:
    """Every model is of its variant's network, and costs what was told, within its budget."""
    variants = Variants(study)
    for trial in study.trials():
        result, variant = result_of(trial), variants.of(trial.params)
        assert result is not None
        network = unpack_network(study.workspace.store[result.files[MODEL]])
        assert variant.factory.cost_model(network.graph).dense == result.cost
        assert trial_budget(trial).holds(result.cost)
        assert result.widths.keys() <= {g.name for g in variant.factory.start.graph.channels.groups}


def _check_rerun(study: Study, number: int) -> None:
    *_, again = rerun(study, number)
    assert isinstance(again, Again)
    assert again.differences == ()


@pytest.mark.slow
def test_a_study_with_variants_goes_on_and_grows(workspace: Workspace, spec: Spec) -> None:
    create.prepare(workspace, "s", spec, 2)
    work(workspace.config, "s", threads=1)
    study = create.prepare(workspace, "s", spec, None)
    assert len(study.trials()) == 6
    narrow = Spec({**spec.values, "space": {"model": ["ds_cnn"], "model.ds_cnn.filters": [8]}})
    with pytest.raises(ConfigError, match="paths cannot change"):
        create.prepare(workspace, "s", narrow, 8)
    other = Spec({**spec.values, "choices": {"model": {"resnet8": {}, "ds_cnn": {}}}})
    with pytest.raises(StudyError, match=r"choices\.model\."):
        create.prepare(workspace, "s", other, None)


@pytest.mark.slow
def test_a_variant_that_cannot_meet_a_budget_does_not_draw_it(
    workspace: Workspace, compose_spec: Composed
) -> None:
    words = ["model.filters=4", "budget=grid", "sampler=random", "method.phases.dense_epochs=1"]
    spec = compose_spec(*words, "budget.sram=[4KiB,400]", "+space={data.image_size: [8, 24]}")
    with pytest.raises(BudgetError, match=r"image_size=24 cannot meet any budget; leave it out"):
        create.prepare(workspace, "none", _with_sram(spec, [400]), None)
    study = create.prepare(workspace, "s", spec, 12)
    (small, large), (_, tight) = study.facts.variants, study.budgets
    assert (small.out_of_reach, large.out_of_reach) == ((), (tight,))  # an input has 576 bytes
    for _ in range(12):
        trial = claim(study)
        assert trial is not None
        drawn = sampled_params(study, trial)
        assert trial_budget(trial) != tight or drawn == {"data.image_size": 8}


def _with_sram(spec: Spec, sram: list[Any]) -> Spec:
    return Spec({**spec.values, "budget": {**spec["budget"], "sram": sram}})


@pytest.mark.slow
def test_scores_on_other_samples_are_not_compared(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    spec = compose_spec(*tiny, "+space={data.train: [64, 32]}")
    with pytest.raises(ConfigError, match=r"data\.train=32: the train split has other samples"):
        create.prepare(workspace, "s", spec, None)


@pytest.mark.slow
def test_others_go_on_while_one_worker_trains_a_dense_network(
    workspace: Workspace, spec: Spec
) -> None:
    study = create.prepare(workspace, "s", spec, None)
    first = study.facts.variants[0]
    release, held = threading.Event(), threading.Event()

    def train_for_long() -> None:
        assert first.dense_key is not None
        with workspace.lock(training_lock(first.dense_key)):
            held.set()
            release.wait(60)

    thread = threading.Thread(target=train_for_long)
    thread.start()
    assert held.wait(10)
    try:
        starts = Starts(study, StopMonitor(study))
        trial = claim(study, starts.blocked())
        assert trial is not None
        assert facts_of(study, sampled_params(study, trial)) == first  # drawn just now
        assert starts.of(trial) is None
        study.table.set_state(trial, TrialState.WAITING)
        assert starts.blocked() == {trial.number}
        other = claim(study, starts.blocked())
        assert other is not None
        assert other.number != trial.number
    finally:
        release.set()
        thread.join()
    assert first.dense_key is not None
    assert not is_in_training(study, first.dense_key)
    assert starts.blocked() == set()


@pytest.mark.slow
def test_cmaes_is_refused_for_several_objectives(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    rates = ["space=rates", "sampler=cmaes"]
    with pytest.raises(ConfigError, match="CmaEsSampler cannot be used for 4 objectives"):
        create.prepare(workspace, "s", compose_spec(*tiny, *rates), None)
    create.prepare(workspace, "s", compose_spec(*tiny, *rates, "objectives=[score]"), None)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "gp", "qmc"])
def test_every_sampler_draws_from_conditional_spaces(
    workspace: Workspace, spec: Spec, compose_spec: Composed, sampler: str
) -> None:
    chosen = compose_spec(f"sampler={sampler}")["sampler"]
    study = create.prepare(workspace, sampler, Spec({**spec.values, "sampler": chosen}), 6)
    for _ in range(6):
        trial = claim(study)
        assert trial is not None
        assert facts_of(study, sampled_params(study, trial)) in study.facts.variants


# --- earlier studies


@pytest.mark.slow
def test_a_sampler_begins_with_the_trials_of_earlier_studies(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    space = "+space={task.optimizer.lr: {low: 0.001, high: 1.0, log: true}}"
    wide = compose_spec(*tiny, space, "sampler=random", "trials=3", "objectives=[score]")
    prior = create.prepare(workspace, "prior", wide, None)
    for score in (0.2, 0.9, 0.1):
        trial = claim(prior)
        assert trial is not None
        sampled_params(prior, trial)
        prior.optuna.tell(trial, score)
    drawn = [trial.params["task.optimizer.lr"] for trial in prior.trials()]
    narrow = space.replace("0.001", str(sorted(drawn)[0] * 1.01))
    words = (*tiny, narrow, "objectives=[score]", "prior_studies=[prior]")
    study = create.prepare(workspace, "s", compose_spec(*words), 2)
    known = [trial.params["task.optimizer.lr"] for trial in prior_trials(study)]
    assert known == [rate for rate in drawn if rate != min(drawn)]  # the other is outside
    seen: list[int] = []
    study.table.show = lambda trials: seen.append(len(trials))  # type: ignore[method-assign]
    assert claim(study) is not None
    assert seen == [2 + 2]
    with pytest.raises(StudyError, match="study=nobody"):
        create.prepare(workspace, "t", compose_spec(*tiny, "prior_studies=[nobody]"), None)
    with pytest.raises(ConfigError, match="prior has metric accuracy and objectives score;"):
        create.prepare(workspace, "t", compose_spec(*tiny, "prior_studies=[prior]"), None)
