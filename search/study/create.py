"""A sweep before its first trial: its study is created and checked, or continued."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

from pruning.budget import RESOURCES, Cost
from pruning.data import Dataset
from pruning.training.job import Precision, fast_precision
from pruning.training.train import require_one_output
from search.config.instantiate import TARGET
from search.config.schema import AcceleratorConfig
from search.config.spec import Spec, flattened
from search.errors import ConfigError, StudyError
from search.storage.workspace import Workspace
from search.study.budgets import budgets
from search.study.checks import require_store
from search.study.command import Command
from search.study.control import current_command, send
from search.study.factory import AUTO, SweepFactory
from search.study.prior import require_prior
from search.study.provenance import provenance
from search.study.pruner import RungPruner
from search.study.reachable import coarse_ladder, reachable
from search.study.sampling import AUTO as AUTO_SAMPLER
from search.study.sampling import chosen_sampler, configured
from search.study.space import (
    GROUPS,
    check_space,
    name_of,
    parameters,
    require_narrower,
    variants,
)
from search.study.study import Study, create_study, find_study
from search.study.study_record import StudyFacts, VariantFacts
from search.study.trials import add_trials
from search.study.tryout import require_form, tried, try_out, try_sampler
from search.study.variants import Variants

log = logging.getLogger("paring.sweep")
MOST_SEEDS = 1 << 32
AUTO_TRIALS = 24  # of budget=auto, unless a number is given
MAX_NAMED = 5  # settings in a message
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
        study = _created(workspace, name, spec, total)
        known = Variants(study)
    else:
        require_store(study)
        known = Variants(study)
        known.first()
    repeats = study.spec.values.get("seeds") or 1
    least = study.spec["trials"] or _one_each(study) * repeats
    if spec is not None:
        _require_same(study, spec)  # another process may have created it a moment ago
        _narrow(study, study.spec.drawn_as(spec["space"]))
        if added := _add_budgets(study, spec, known):
            least = max(least, len(study.trials()) + added * repeats, total or 0)
            total = None  # it counts the trials of the earlier budgets
    add_trials(
        study, total or least, study.budgets, study.spec["seed"], study.spec.values.get("seeds")
    )
    current = current_command(study)
    if current.command is Command.HALT or (current.ends and not study.over()):
        send(study, Command.GO)
    return study


def _one_each(study: Study) -> int:
    """How many trials give every variant one for each of the first budgets that it can meet."""
    known, first = study.facts.all_variants, study.facts.budgets
    if study.places_budgets:
        return len(known) * max(AUTO_TRIALS, len(first))
    return sum(budget not in facts.out_of_reach for facts in known for budget in first)


def _narrow(study: Study, space: Mapping[str, Any]) -> None:
    if space not in (study.spec["space"], study.space):
        check_space(space)
        require_narrower(space, study.space)
        study.note(space=dict(space))


def _add_budgets(study: Study, spec: Spec, known: Variants) -> int:
    """Add the budgets that the study lacks; returns how many."""
    if study.places_budgets:
        return 0
    asked = budgets(spec.typed().budget, study.facts.dense_cost)
    with study.workspace.lock(f"budgets-{study.key}"):
        present = (*study.budgets, *study.facts.out_of_reach)
        new = [budget for budget in asked if budget not in present]
        if new:
            factories = {variant.facts.name: variant.factory for variant in known.all()}
            reach = reachable(factories, new, spec["budget"]["kind"])
            before = study.notes().unreachable
            study.note(
                unreachable={
                    place: (*before.get(place, ()), *out)
                    for place, out in enumerate(reach.out_of.values())
                },
                budgets=(*study.budgets, *reach.good),
            )
            new = reach.good
    return len(new)


def _created(workspace: Workspace, name: str, spec: Spec, total: int | None) -> Study:
    typed = spec.typed()
    check_space(typed.space)
    RungPruner.of(typed.stopping)
    if not 0 <= typed.seed < MOST_SEEDS:
        raise ConfigError(f"seed={typed.seed}: a whole number from 0 to {MOST_SEEDS - 1}")
    if typed.seeds is not None and typed.seeds < 1:
        raise ConfigError(f"seeds={typed.seeds}: at least 1, or null")
    if typed.seeds is not None and typed.budget.kind == "auto":
        raise ConfigError(
            f"seeds={typed.seeds}: budget=auto gives every trial a budget of its own; leave seeds "
            "out, or choose another budget"
        )
    factories = _factories(spec)
    for factory in factories.values():
        require_one_output(factory.start.graph)
        require_form(factory, typed.target)
    _require_comparable(factories)
    facts = _facts(spec, factories)
    _warn_of_bf16(typed.accelerator)
    spec.replaced(dict.fromkeys(_paths_of_all(typed.space), 0))
    spec = _with_sampler(spec, len(facts.budgets), total)
    for variant, factory in zip(facts.all_variants, factories.values(), strict=True):
        try_out(factory, variant, facts.budgets[0])
    directions = _directions(typed.objectives, facts.rises)
    require_prior(workspace, typed.prior_studies, facts.metric, typed.objectives)
    try_sampler(spec, directions)
    return create_study(workspace, name, spec, directions, facts)


def _paths_of_all(space: Mapping[str, Any]) -> list[str]:
    """The paths that every variant must have, so that a misspelt one is told at once."""
    return [p.name for p in parameters(space) if p.condition is None and p.name not in GROUPS]


def _factories(spec: Spec) -> dict[str, SweepFactory]:
    """A factory for every variant of a space, by name; equal data are loaded once."""
    loaded: dict[str, Dataset] = {}
    factories = {}
    for params in variants(spec["space"]):
        here = spec.replaced(params)
        source = json.dumps(here["data"], sort_keys=True)
        factory = SweepFactory(here, data=loaded.get(source))
        loaded[source] = factory.data
        factories[name_of(params)] = factory
    return factories


def _require_comparable(factories: Mapping[str, SweepFactory]) -> None:
    """Refuse variants whose scores cannot be compared.

    Raises:
        ConfigError: their samples or their scoring differ; it names the variant.
    """
    (first_name, first), *others = factories.items()
    for name, factory in others:
        for part in ("train", "validation", "test"):
            ours, theirs = (getattr(f.data, part).targets for f in (first, factory))
            if not torch.equal(ours, theirs):
                raise ConfigError(
                    f"space: {name}: the {part} split has other samples than that of {first_name}; "
                    "choose among settings that keep the samples and their split, so that scores "
                    "can be compared"
                )
        if factory.precision is not first.precision:
            raise ConfigError(
                f"space: {name} is scored {factory.precision}, {first_name} {first.precision}; set "
                f"precision={Precision.SIMULATED} for all, or leave out what has no exact int8 form"
            )


def _warn_of_bf16(accelerator: AcceleratorConfig) -> None:
    if accelerator.precision == "bf16" and fast_precision(accelerator.device) != "bf16":
        log.warning(
            "accelerator.precision=bf16: this processor computes it in software, about ten "
            "times slower than fp32; choose accelerator=cpu unless the workers run elsewhere"
        )


def _with_sampler(spec: Spec, budgets: int, total: int | None) -> Spec:
    """The spec with the sampler that `sampler=auto` stands for."""
    if spec["sampler"].get(TARGET) != AUTO_SAMPLER:
        return spec
    configured(spec, 0)  # refuses what it does not take
    sampler = chosen_sampler(spec["space"], budgets, total or spec["trials"])
    return replace(spec, values={**spec.values, "sampler": sampler})


def _facts(spec: Spec, factories: Mapping[str, SweepFactory]) -> StudyFacts:
    """What is known before the first trial.

    Raises:
        ConfigError: no answer is better than another on these data. BudgetError: no budget can
            be met.
    """
    config, first = spec.typed().budget, next(iter(factories.values()))
    task, costs = first.task(), [f.cost_model(f.start.graph).dense for f in factories.values()]
    dense = Cost(**{k: max(getattr(cost, k) for cost in costs) for k in asdict(costs[0])})
    auto = config.kind == "auto"
    asked = coarse_ladder(factories, config, dense) if auto else budgets(config, dense)
    reach = reachable(factories, asked, config.kind)
    with tried("task.metric"):
        targets, classes = first.data.validation.targets, len(first.data.classes)
        chance = task.metric.chance(targets, classes)
    best = task.best
    if not (chance < best if task.rises else chance > best):
        raise ConfigError(
            f"data: on the validation split one and the same answer has a {task.metric.name} "
            f"of {chance:g}, and the best possible one is {best:g}; bring samples that differ"
        )
    known = [
        VariantFacts(
            params=params,
            dense_key=factory.dense_key(),
            dense_cost=cost,
            data_digest=factory.data.digest,
            out_of_reach=tuple(reach.out_of[name]),
        )
        for params, cost, (name, factory) in zip(
            variants(spec["space"]), costs, factories.items(), strict=True
        )
    ]
    networks = dict.fromkeys(factory.spec["model"]["_target_"] for factory in factories.values())
    return StudyFacts(
        metric=task.metric.name,
        rises=task.rises,
        chance=chance,
        best=best,
        dense_cost=dense,
        device_limits=first.device.budget,
        budgets=tuple(reach.good),
        out_of_reach=tuple(reach.bad),
        data_digest=first.data.digest,
        dense_key=known[0].dense_key,
        start_has_network=True,
        precision=first.precision,
        tags=provenance(first.data, list(networks)),
        variants=tuple(known) if len(known) > 1 else (),
    )


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
    if now[f"sampler.{TARGET}"] == AUTO_SAMPLER:
        now = {k: v for k, v in now.items() if not k.startswith("sampler.")}
        now |= {k: v for k, v in before.items() if k.startswith("sampler.")}
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
