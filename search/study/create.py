"""A sweep before its first trial: the study is created and checked, or continued."""

import contextlib
import importlib.metadata
import json
import logging
import subprocess
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
from search.config.spec import Spec, leaves
from search.errors import ConfigError, StudyError
from search.storage.blobs import mark_of
from search.storage.workspace import Home
from search.study.control import Order, give, given
from search.study.factory import AUTO, Blueprint, start_key
from search.study.pruner import Rungs
from search.study.sampling import sampler_for
from search.study.space import FIELDS, budgets, check_space, corners, require_narrower
from search.study.study import Study, create_study, find_study

log = logging.getLogger("paring.sweep")
MOST_SEEDS = 1 << 32
MANY = 5  # settings that a message can name
TARGETS = ("any", "c", "tflite")
GROWING = ("trials", "budget", "space")  # what may change while a study grows
KEPT = {"accelerator": ("threads",), "device": ("flash_margin", "latency_margin")}
OBJECTIVES = ("score", *RESOURCES, "macs")


def prepare(home: Home, name: str, spec: Spec | None, total: int | None) -> Study:
    """The study of a name with its trials: created from a spec, or continued.

    Without a spec the study must exist. A larger total, or another budget, adds trials; a
    narrower space is what new trials draw from. All else must be as it was.

    Raises:
        StudyError: there is no such study, or it was created with another spec.
        BudgetError: every budget is out of reach. ConfigError: a value makes no sense.
    """
    study = find_study(home, name)
    if study is None:
        if spec is None:
            raise StudyError(f"study={name}: there is none; add experiment=... or a model and data")
        blueprint = Blueprint(spec)
        study = _created(home, name, blueprint)
    else:
        study.require_store()
        blueprint = Blueprint(study.spec)
        study.require_data(blueprint.data.digest)
        start_key(study, blueprint)
    repeats = study.spec.values.get("seeds") or 1
    wanted = study.spec["trials"] or len(study.facts["budgets"]) * repeats
    if spec is not None:
        _require_same(study, spec)  # somebody may have created it just before us
        _narrow(study, study.in_own_words(spec["space"]))
        if added := _add_budgets(study, spec, blueprint):
            wanted = max(wanted, len(study.trials()) + added * repeats, total or 0)
            total = None  # it was for the budgets that were there
    study.add_trials(
        total or wanted, study.budgets, study.spec["seed"], study.spec.values.get("seeds")
    )
    order = given(study)
    if order.order is Order.HALT or (order.ends and not study.over()):
        give(study, Order.GO)
    return study


def _narrow(study: Study, space: Mapping[str, Any]) -> None:
    if space not in (study.spec["space"], study.space):
        check_space(space)
        require_narrower(space, study.space)
        study.set_note("space", dict(space))


def _add_budgets(study: Study, spec: Spec, blueprint: Blueprint) -> int:
    """Add the budgets that the study lacks; returns how many."""
    wanted = budgets(spec.typed().budget, Cost(**study.facts["dense_cost"]))
    refused = [Budget(**limits) for limits in study.facts.get("out_of_reach", ())]
    with study.home.lock(f"budgets-{study.key}"):
        new = [b for b in wanted if b not in (*study.budgets, *refused)]
        if new:
            new = _reachable(blueprint, new, spec["budget"]["kind"])[0]
            study.set_note("budgets", [asdict(budget) for budget in (*study.budgets, *new)])
    return len(new)


def _reachable(
    blueprint: Blueprint, wanted: Sequence[Budget], kind: str
) -> tuple[list[Budget], list[Budget]]:
    """The budgets that some widths meet, and the others, which are told of.

    Raises:
        BudgetError: no budget can be met.
    """
    model = blueprint.cost_model(blueprint.start.graph)
    remove_branches = blueprint.pruning.allocation.vanishing
    if not wanted:
        raise ConfigError("budget: an empty list of limits gives no budget; write one at least")
    good, bad, reasons = [], [], []
    for budget in wanted:
        try:
            require_reachable(model, budget, blueprint.margins, remove_branches)
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
    """What else helps where a rung of a ladder is out of reach."""
    exponents = [
        f"budget.exponents.{short}" for name, short in FIELDS.items() if f"{name} " in reason
    ]
    return f" Or lower {', '.join(exponents)}, or drop that share." if kind == "ladder" else ""


def _created(home: Home, name: str, blueprint: Blueprint) -> Study:
    spec, typed = blueprint.spec, blueprint.spec.typed()
    check_space(typed.space)
    require_one_output(blueprint.start.graph)
    _require_form(blueprint, typed.target)
    model = blueprint.cost_model(blueprint.start.graph)
    Rungs.of(typed.stopping)
    if not 0 <= typed.seed < MOST_SEEDS:
        raise ConfigError(f"seed={typed.seed}: a whole number from 0 to {MOST_SEEDS - 1}")
    if typed.seeds is not None and typed.seeds < 1:
        raise ConfigError(f"seeds={typed.seeds}: at least 1, or null")
    made, beyond = _reachable(blueprint, budgets(typed.budget, model.dense), typed.budget.kind)
    task, classes = blueprint.task(), len(blueprint.data.classes)
    with _tried("task.metric"):
        chance = task.metric.chance(blueprint.data.validation.targets, classes)
    best = task.best
    if not (chance < best if task.rises else chance > best):
        raise ConfigError(
            f"data: on the validation split one and the same answer has a {task.metric.name} "
            f"of {chance:g}, and the best possible one is {best:g}; bring samples that differ"
        )
    facts = {
        "metric": task.metric.name,
        "rises": task.rises,
        "chance": chance,
        "best": best,
        "dense_cost": asdict(model.dense),
        "device_limits": blueprint.device.budget.limits,
        "budgets": [asdict(budget) for budget in made],
        "out_of_reach": [asdict(budget) for budget in beyond],
        "data_digest": blueprint.data.digest,
        "dense_key": blueprint.dense_key(),
        "start_has_network": True,
        "precision": blueprint.precision,
        "tags": _tags(blueprint),
    }
    accelerator = typed.accelerator
    if accelerator.precision == "bf16" and fast_precision(accelerator.device) != "bf16":
        log.warning(
            "accelerator.precision=bf16: this processor computes it in software, about ten "
            "times slower than fp32; choose accelerator=cpu unless the workers have others"
        )
    spec.replaced(dict.fromkeys(typed.space, 0))  # every path of the space must exist
    _try_out(blueprint, made[0])
    directions = _directions(typed.objectives, task.rises)
    mark = home.store.put(mark_of(name, home.databases.place))
    study = create_study(home, name, spec, directions, facts | {"store": mark})
    if study.facts["store"] != mark:  # somebody else was quicker
        home.store.remove(mark)
    return study


def _require_form(blueprint: Blueprint, target: str) -> None:
    """Refuse a network that does not have the form that is wanted, before any training.

    Raises:
        ConfigError: there is no such form. DeployError: naming what stands in the way.
    """
    if target not in TARGETS:
        raise ConfigError(f"target={target}: write one of {', '.join(TARGETS)}")
    graph, tensors = blueprint.start.graph, blueprint.start.tensors
    if target != "any":
        require_deployable(graph)
        if blueprint.precision is not Precision.EXACT:
            raise ConfigError(
                f"target={target}: what is scored with precision={blueprint.precision} has no "
                "such form; leave precision out"
            )
    if target == "tflite":
        from pruning.deploy.backends.tflite import tflite_file  # its libraries are an extra

        inputs = blueprint.data.normalise(blueprint.data.train.inputs[:2])
        tflite_file(lower(graph, tensors, calibrate(graph, tensors, inputs)))


def _try_out(blueprint: Blueprint, budget: Budget) -> None:
    """Make what workers will make, so that a setting nobody can use is refused at once."""
    sampler_for(blueprint.spec, 0)
    _try_job(blueprint, blueprint.dense_job(), "task.optimizer")
    for params in ({}, *corners(blueprint.spec["space"])):
        what = ", ".join(f"{path}={value}" for path, value in params.items())
        job = blueprint.trial_job(params, budget, blueprint.spec["seed"])
        _try_job(blueprint, job, f"space: {what}" if what else "task.optimizer")
    _judge(blueprint)


def _try_job(blueprint: Blueprint, job: Job, what: str) -> None:
    start = blueprint.start
    with _tried(what):
        TrainState.begin(start.graph, start.tensors, job)


@contextlib.contextmanager
def _tried(what: str) -> Iterator[None]:
    """Say which setting names the code, perhaps the user's own, that fails in any way."""
    try:
        yield
    except PruningError:
        raise
    except Exception as error:
        raise ConfigError(f"{what}: {type(error).__name__}: {error}") from error


def _judge(blueprint: Blueprint) -> None:
    """Compare two outputs with what they should be: the network must fit the task."""
    data, start = blueprint.data, blueprint.start
    task = blueprint.task().fitted(data.train.targets, len(data.classes))
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
    before, now = (dict(leaves(_deciding(each))) for each in (study.spec, spec))
    if now["precision"] == AUTO:
        now["precision"] = before["precision"]
    changed = [
        f"{path} (stored {_short(before.get(path))}, now {_short(now.get(path))})"
        for path in sorted({*before, *now})
        if before.get(path) != now.get(path)
    ]
    if len(changed) > MANY:
        changed[MANY - 1 :] = [f"and {len(changed) - MANY + 1} others"]
    if changed:
        raise StudyError(
            f"study={study.name}: it was created with other settings: {'; '.join(changed)}. "
            "Continue it without them (paring sweep study=NAME), or choose another name."
        )


def _deciding(spec: Spec) -> dict[str, Any]:
    """The values that no trial may differ in: neither totals nor threads, budgets or spaces.
    A study keeps its own margins, whatever those of the device are by now.
    """
    whole = asdict(spec.typed())  # older specs lack what has been added with a default since
    values = {key: value for key, value in whole.items() if key not in GROWING}
    for key, names in KEPT.items():
        values[key] = {k: v for k, v in values[key].items() if k not in names}
    return values


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _tags(blueprint: Blueprint) -> dict[str, str]:
    """Where the numbers come from: code, data and libraries."""
    versions = {
        f"version.{name}": importlib.metadata.version(name)
        for name in ("paring", "torch", "optuna", "mlflow", "numpy")
    }
    return {
        **versions,
        **_git(),
        "data": blueprint.data.name,
        "data.digest": blueprint.data.digest,
    }


def _git() -> dict[str, str]:
    """The commit and whether there are changes on top, where this is a git checkout."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {
            "git.commit": ask("rev-parse", "HEAD"),
            "git.dirty": str(bool(ask("status", "--porcelain"))).lower(),
        }
    except (OSError, subprocess.SubprocessError):
        return {"git.commit": "none", "git.dirty": "false"}
