"""A sweep before its first trial: its study is created and checked, or continued."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pruning.allocation.feasibility import require_reachable
from pruning.budget import RESOURCES, Budget, Cost
from pruning.deploy import calibrate, lower, require_deployable
from pruning.errors import BudgetError, PruningError
from pruning.execution.network import Network, first_output
from pruning.training.job import Job, Precision, fast_precision
from pruning.training.state import TrainState
from pruning.training.train import require_one_output
from search.config.spec import Spec, flattened
from search.errors import ConfigError, StudyError
from search.storage.workspace import Workspace
from search.study.checks import require_data, require_store
from search.study.command import Command
from search.study.control import current_command, send
from search.study.factory import AUTO, SweepFactory, start_key
from search.study.provenance import provenance
from search.study.pruner import RungPruner
from search.study.sampling import sampler_for
from search.study.space import FIELDS, budgets, check_space, corners, require_narrower
from search.study.study import Study, create_study, find_study
from search.study.study_record import StudyFacts
from search.study.trials import add_trials

log = logging.getLogger("paring.sweep")
MOST_SEEDS = 1 << 32
MAX_NAMED = 5  # settings in a message
TARGETS = ("any", "c", "tflite")
GROWING = ("trials", "budget", "space")  # what may change while a study grows
KEPT = {"accelerator": ("threads",), "device": ("flash_margin", "latency_margin")}
OBJECTIVES = ("score", *RESOURCES, "macs")


def prepare(workspace: Workspace, name: str, spec: Spec | None, total: int | None) -> Study:
    """The study of a name with its trials: created from a spec, or continued.

    Without a spec the study must exist. A larger total, or another budget, adds trials; new
    trials draw from a narrower space if one is given. All other settings must be as they were.

    Raises:
        StudyError: there is no such study, or it was created with another spec.
        BudgetError: every budget is out of reach. ConfigError: a value makes no sense.
    """
    study = find_study(workspace, name)
    if study is None:
        if spec is None:
            raise StudyError(f"study={name}: no such study; add experiment=... or a model and data")
        factory = SweepFactory(spec)
        study = _created(workspace, name, factory)
    else:
        require_store(study)
        factory = SweepFactory(study.spec)
        require_data(study, factory.data.digest)
        start_key(study, factory)
    repeats = study.spec.values.get("seeds") or 1
    least = study.spec["trials"] or len(study.facts.budgets) * repeats
    if spec is not None:
        _require_same(study, spec)  # another process may have created it a moment ago
        _narrow(study, study.spec.drawn_as(spec["space"]))
        if added := _add_budgets(study, spec, factory):
            least = max(least, len(study.trials()) + added * repeats, total or 0)
            total = None  # it counts the trials of the earlier budgets
    add_trials(
        study, total or least, study.budgets, study.spec["seed"], study.spec.values.get("seeds")
    )
    current = current_command(study)
    if current.command is Command.HALT or (current.ends and not study.over()):
        send(study, Command.GO)
    return study


def _narrow(study: Study, space: Mapping[str, Any]) -> None:
    if space not in (study.spec["space"], study.space):
        check_space(space)
        require_narrower(space, study.space)
        study.note(space=dict(space))


def _add_budgets(study: Study, spec: Spec, factory: SweepFactory) -> int:
    """Add the budgets that the study lacks; returns how many."""
    asked = budgets(spec.typed().budget, study.facts.dense_cost)
    with study.workspace.lock(f"budgets-{study.key}"):
        present = (*study.budgets, *study.facts.out_of_reach)
        new = [budget for budget in asked if budget not in present]
        if new:
            new = _reachable(factory, new, spec["budget"]["kind"])[0]
            study.note(budgets=(*study.budgets, *new))
    return len(new)


def _reachable(
    factory: SweepFactory, candidates: Sequence[Budget], kind: str
) -> tuple[list[Budget], list[Budget]]:
    """The budgets that some widths meet, and the others, which are logged.

    Raises:
        BudgetError: no budget can be met.
    """
    model = factory.cost_model(factory.start.graph)
    remove_branches = factory.dense_job().pruning.allocation.vanishing
    if not candidates:
        raise ConfigError("budget: the list of limits is empty; write at least one")
    good, bad, reasons = [], [], []
    for budget in candidates:
        try:
            require_reachable(model, budget, factory.margins, remove_branches)
            good.append(budget)
        except BudgetError as error:
            bad.append(budget)
            reasons.append(f"{error}{_cure(kind, str(error))}")
    if not good:
        raise BudgetError(reasons[0])
    for budget, reason in zip(bad, reasons, strict=True):
        log.warning("left out: %s: %s", budget.limits, reason)
    return good, bad


def _cure(kind: str, reason: str) -> str:
    """What else helps where a budget of a ladder is out of reach."""
    exponents = [
        f"budget.exponents.{short}" for name, short in FIELDS.items() if f"{name} " in reason
    ]
    return f" Or lower {', '.join(exponents)}, or drop that share." if kind == "ladder" else ""


def _created(workspace: Workspace, name: str, factory: SweepFactory) -> Study:
    spec, typed = factory.spec, factory.spec.typed()
    check_space(typed.space)
    require_one_output(factory.start.graph)
    _require_form(factory, typed.target)
    model = factory.cost_model(factory.start.graph)
    RungPruner.of(typed.stopping)
    if not 0 <= typed.seed < MOST_SEEDS:
        raise ConfigError(f"seed={typed.seed}: a whole number from 0 to {MOST_SEEDS - 1}")
    if typed.seeds is not None and typed.seeds < 1:
        raise ConfigError(f"seeds={typed.seeds}: at least 1, or null")
    facts = _facts(factory, model.dense)
    accelerator = typed.accelerator
    if accelerator.precision == "bf16" and fast_precision(accelerator.device) != "bf16":
        log.warning(
            "accelerator.precision=bf16: this processor computes it in software, about ten "
            "times slower than fp32; choose accelerator=cpu unless the workers run elsewhere"
        )
    spec.replaced(dict.fromkeys(typed.space, 0))  # every path of the space must exist
    _try_out(factory, facts.budgets[0])
    directions = _directions(typed.objectives, facts.rises)
    return create_study(workspace, name, spec, directions, facts)


def _facts(factory: SweepFactory, dense: Cost) -> StudyFacts:
    """What is known before the first trial; `dense` is the cost of the unpruned network.

    Raises:
        ConfigError: no answer is better than another on these data. BudgetError: no budget can
            be met.
    """
    config, task = factory.spec.typed().budget, factory.task()
    reachable, out_of_reach = _reachable(factory, budgets(config, dense), config.kind)
    with _tried("task.metric"):
        targets, classes = factory.data.validation.targets, len(factory.data.classes)
        chance = task.metric.chance(targets, classes)
    best = task.best
    if not (chance < best if task.rises else chance > best):
        raise ConfigError(
            f"data: on the validation split one and the same answer has a {task.metric.name} "
            f"of {chance:g}, and the best possible one is {best:g}; bring samples that differ"
        )
    return StudyFacts(
        metric=task.metric.name,
        rises=task.rises,
        chance=chance,
        best=best,
        dense_cost=dense,
        device_limits=factory.device.budget,
        budgets=tuple(reachable),
        out_of_reach=tuple(out_of_reach),
        data_digest=factory.data.digest,
        dense_key=factory.dense_key(),
        start_has_network=True,
        precision=factory.precision,
        tags=provenance(factory.data, factory.spec["model"]["_target_"]),
    )


def _require_form(factory: SweepFactory, target: str) -> None:
    """Refuse a network that cannot be deployed in the form that is asked for, before training.

    Raises:
        ConfigError: there is no such form. DeployError: naming the obstacle.
    """
    if target not in TARGETS:
        raise ConfigError(f"target={target}: write one of {', '.join(TARGETS)}")
    graph, tensors = factory.start.graph, factory.start.tensors
    if target != "any":
        require_deployable(graph)
        if factory.precision is not Precision.EXACT:
            raise ConfigError(
                f"target={target}: what is scored with precision={factory.precision} has no "
                "such form; leave precision out"
            )
    if target == "tflite":
        from pruning.deploy.backends.tflite import tflite_file  # its libraries are an extra

        inputs = factory.data.normalise(factory.data.train.inputs[:2])
        tflite_file(lower(graph, tensors, calibrate(graph, tensors, inputs)))


def _try_out(factory: SweepFactory, budget: Budget) -> None:
    """Build what workers will build, so that a setting that cannot be used is refused at once."""
    sampler_for(factory.spec, 0)
    _try_job(factory, factory.dense_job(), "task.optimizer")
    for params in ({}, *corners(factory.spec["space"])):
        choice = ", ".join(f"{path}={value}" for path, value in params.items())
        job = factory.trial_job(params, budget, factory.spec["seed"])
        _try_job(factory, job, f"space: {choice}" if choice else "task.optimizer")
    _judge(factory)


def _try_job(factory: SweepFactory, job: Job, setting: str) -> None:
    start = factory.start
    with _tried(setting):
        TrainState.begin(start.graph, start.tensors, job)


@contextlib.contextmanager
def _tried(setting: str) -> Iterator[None]:
    """Name the setting whose code, perhaps the user's own, fails in any way."""
    try:
        yield
    except PruningError:
        raise
    except Exception as error:
        raise ConfigError(f"{setting}: {type(error).__name__}: {error}") from error


def _judge(factory: SweepFactory) -> None:
    """Compute the loss of two samples, to see that the network fits the task."""
    data, start = factory.data, factory.start
    task = factory.task().fitted(data.train.targets, len(data.classes))
    task.require_shape(start.graph.shape(start.graph.outputs[0]), len(data.classes))
    clean = data.normalise(data.train.inputs[:2])
    outputs = first_output(Network(start.graph, start.tensors).eval()(clean))
    with _tried("task.loss"):
        task.loss(outputs, task.aim(clean, data.train.targets[:2]))


def _directions(objectives: list[str], rises: bool) -> dict[str, str]:
    if unknown := [name for name in objectives if name not in OBJECTIVES]:
        raise ConfigError(f"objectives: unknown {unknown}; choose from {', '.join(OBJECTIVES)}")
    if not objectives:
        raise ConfigError(f"objectives: none; choose from {', '.join(OBJECTIVES)}")
    return {name: "maximize" if name == "score" and rises else "minimize" for name in objectives}


def _require_same(study: Study, spec: Spec) -> None:
    """Refuse to continue a study with another recipe."""
    before, now = (dict(flattened(_deciding(one))) for one in (study.spec, spec))
    if now["precision"] == AUTO:
        now["precision"] = before["precision"]
    changed = [
        f"{path} (stored {_short(before.get(path))}, now {_short(now.get(path))})"
        for path in sorted({*before, *now})
        if before.get(path) != now.get(path)
    ]
    if len(changed) > MAX_NAMED:
        changed[MAX_NAMED - 1 :] = [f"and {len(changed) - MAX_NAMED + 1} others"]
    if changed:
        raise StudyError(
            f"study={study.name}: it was created with other settings: {'; '.join(changed)}. "
            "Continue it without them (paring sweep study=NAME), or choose another name."
        )


def _deciding(spec: Spec) -> dict[str, Any]:
    """The values that must not change while a study grows: all but totals, threads, budgets and
    spaces. A study keeps its margins, even if those of the device have changed since.
    """
    typed = asdict(spec.typed())  # with the defaults of what older specs lack
    values = {key: value for key, value in typed.items() if key not in GROWING}
    for key, names in KEPT.items():
        values[key] = {k: v for k, v in values[key].items() if k not in names}
    return values


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
