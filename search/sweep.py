"""A sweep before its first slot: the study is created and checked, or continued."""

import importlib.metadata
import json
import logging
import subprocess
from dataclasses import asdict
from typing import Any

from pruning.budget import RESOURCES, Budget
from pruning.network import Network, first
from pruning.reach import require_reachable
from pruning.state import TrainState
from search.build import Blueprint
from search.config import Spec
from search.errors import ConfigError, StudyError
from search.home import Home
from search.space import budgets, check_space
from search.study import Study, create_study, find_study, sampler_for

log = logging.getLogger("paring.sweep")
OBJECTIVES = ("score", *RESOURCES, "macs")


def prepare(home: Home, name: str, spec: Spec | None, total: int | None) -> Study:
    """The study of a name with its slots: created from a spec, or continued.

    Without a spec the study must exist. Continuing checks that nothing else was asked for than
    what the study was created with; a larger total adds slots.

    Raises:
        StudyError: there is no such study, or it was created with another spec.
        BudgetError: a budget is out of reach. ConfigError: a value makes no sense.
    """
    study = find_study(home, name)
    if study is None:
        if spec is None:
            raise StudyError(
                f"study={name}: there is none; add experiment=... or a model and data"
            )
        study = _created(home, name, spec)
    else:
        study.require_data(Blueprint(study.spec).data.digest)
    if spec is not None:
        _require_same(study, spec)  # somebody may have created it just before us
    wanted = total or study.spec["trials"] or len(study.facts["budgets"])
    made = [Budget(**limits) for limits in study.facts["budgets"]]
    study.add_slots(wanted, made, study.spec["seed"])
    return study


def _created(home: Home, name: str, spec: Spec) -> Study:
    typed = spec.typed()
    check_space(typed.space)
    blueprint = Blueprint(spec)
    model = blueprint.cost_model(blueprint.start.graph)
    made = budgets(typed.budget, model.dense)
    for budget in made:
        require_reachable(model, budget)
    task, classes = blueprint.task(), len(blueprint.data.classes)
    chance = task.metric.chance(blueprint.data.validation.targets, classes)
    if chance == (best := 1.0 if task.rises else 0.0):
        raise ConfigError(
            f"data: on the validation split one and the same answer has the best possible "
            f"{task.metric.name} of {best}; bring samples that differ"
        )
    facts = {
        "metric": task.metric.name,
        "rises": task.rises,
        "chance": chance,
        "best": best,
        "dense_cost": asdict(model.dense),
        "device_limits": blueprint.device.budget.limits,
        "budgets": [asdict(budget) for budget in made],
        "data_digest": blueprint.data.digest,
        "dense_key": blueprint.dense_key(),
        "tags": _tags(blueprint),
    }
    spec.replaced(dict.fromkeys(typed.space, 0))  # every path of the space must exist
    _try_out(blueprint, made[0])
    return create_study(home, name, spec, _directions(typed.objectives, task.rises), facts)


def _try_out(blueprint: Blueprint, budget: Budget) -> None:
    """Make what workers will make, so that a setting nobody can use is refused at once."""
    sampler_for(blueprint.spec, 0)
    start = blueprint.start
    for job in (blueprint.dense_job(), blueprint.slot_job({}, budget, blueprint.spec["seed"])):
        try:
            TrainState.begin(start.graph, start.tensors, job)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"task.optimizer: {error}") from error
    _judge(blueprint)


def _judge(blueprint: Blueprint) -> None:
    """Compare two outputs with what they should be: the network must fit the task."""
    data, start = blueprint.data, blueprint.start
    task = blueprint.task().fitted(data.train.targets, len(data.classes))
    clean = data.normalise(data.train.inputs[:2])
    outputs = first(Network(start.graph, start.tensors).eval()(clean))
    task.loss(outputs, task.aim(clean, data.train.targets[:2]))


def _directions(objectives: list[str], rises: bool) -> dict[str, str]:
    if unknown := [name for name in objectives if name not in OBJECTIVES]:
        raise ConfigError(f"objectives: unknown {unknown}; choose from {', '.join(OBJECTIVES)}")
    if not objectives:
        raise ConfigError(f"objectives: none; choose from {', '.join(OBJECTIVES)}")
    return {
        name: "maximize" if name == "score" and rises else "minimize" for name in objectives
    }


def _require_same(study: Study, spec: Spec) -> None:
    """Refuse to continue a study with another recipe."""
    before, now = _deciding(study.spec), _deciding(spec)
    changed = [
        f"{key} (stored {_short(stored)}, now {_short(now.get(key))})"
        for key, stored in before.items()
        if stored != now.get(key)
    ]
    if changed:
        raise StudyError(
            f"study={study.name}: it was created with other settings: {'; '.join(changed)}. "
            "Continue it without them (paring sweep study=NAME), or choose another name."
        )


def _deciding(spec: Spec) -> dict[str, Any]:
    """The values that decide a result: neither the total nor the threads do."""
    values = {key: value for key, value in spec.values.items() if key != "trials"}
    accelerator = {k: v for k, v in spec["accelerator"].items() if k != "threads"}
    return {**values, "accelerator": accelerator}


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
