"""A trial's page: why its network looks as it does, in one HTML file that opens offline."""

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from tracking.explanation import EXPLANATION, PRICED, Explanation, read_explanation
from tracking.pages.curves import curves_card
from tracking.pages.group_table import groups_card
from tracking.pages.kernel_table import usage_card
from tracking.pages.labels import shortened
from tracking.pages.page import render
from tracking.profile import PROFILE, read_profile
from tracking.records import RESOURCES, Costs, StudyRecord, TrialRecord
from tracking.tables import (
    DASH,
    NAMES,
    bounds,
    cost_of,
    dense_of,
    duration,
    limit_of,
    score_text,
    short,
    size,
    work,
)

PAGE = "why.html"
FILES = (EXPLANATION, PROFILE)  # of a trial, that its page is made from
_PER = {
    "flash_bytes": (1024.0, "KiB"),
    "sram_bytes": (1024.0, "KiB"),
    "latency_ms": (1.0, "ms"),
    "macs": (1e6, "million MACs"),
}
_FULL = 0.98  # of a limit; rounding to whole channels leaves about the rest unused
_ROUNDED = "At the best widths other limits stop first; whole channels then filled this one."


class _Price(NamedTuple):
    """What a limit costs, and what 1 % more of it saves. `hint` is shown when pointed at."""

    text: str
    saving: str
    binds: bool
    hint: str = ""


class _Row(NamedTuple):
    """What a resource costs before and after, its limit and price, and its largest kernels."""

    resource: str
    costs_most: bool
    before: str
    after: str
    limit: str
    price: _Price
    hint: str
    kernel_before: str
    kernel_after: str


class _Dearest(NamedTuple):
    """The limit that costs most: `amount` of modelled training loss per `unit`."""

    resource: str
    amount: str
    unit: str


def why_page(
    study: StudyRecord,
    trial: TrialRecord,
    contents: Mapping[str, bytes],
    answers: str | None = None,
) -> str:
    """Return a whole HTML page on one trial's network, without a script: tens of KB.

    What each limit costs and which kernel takes most of it, before and after; a bar for each
    channel group, with its channels before and after and the reason; where memory, flash and
    time go; how it was trained.

    Args:
        study: the trial's study.
        trial: a finished one.
        contents: what the trial stored under the names in FILES; what is not there is left out.
        answers: the relative address of the page on its answers, where that lies beside this one.

    Raises:
        DamagedError: one of these files cannot be read.
    """
    cards = []
    if EXPLANATION in contents:
        explanation = read_explanation(contents[EXPLANATION])
        dense = dense_of(study, trial)
        costs = dense.costs if dense else None
        cards += [_limits_card(trial, costs, explanation), groups_card(explanation)]
    if PROFILE in contents:
        cards.append(usage_card(read_profile(contents[PROFILE]), trial.budget))
    cards.append(curves_card(trial, study.metric))
    page = render(
        "why.html.j2",
        study=study,
        trial=trial,
        facts=_facts(study, trial),
        cards=cards,
        modelled=EXPLANATION in contents,
        answers=answers,
    )
    return str(page)


def _facts(study: StudyRecord, trial: TrialRecord) -> list[str]:
    facts = [
        f"{study.metric} {score_text(trial.score)} ({study.precision}, validation)",
        f"budget: {bounds(trial.budget)}",
    ]
    return facts if study.device is None else [*facts, study.device.name]


def _limits_card(trial: TrialRecord, before: Costs | None, explanation: Explanation) -> Markup:
    """Return a row for each resource, and what the prices mean."""
    pressures = explanation.pressures(_limits(trial))
    dearest = max(pressures, key=pressures.__getitem__, default=None)
    if dearest is not None and pressures[dearest] == 0:
        dearest = None
    kernels = (kernel for pair in explanation.bottlenecks.values() for kernel in pair)
    return render(
        "limits.html.j2",
        labels=shortened(kernels),
        rows=[
            _Row(
                resource=NAMES[name],
                costs_most=name == dearest,
                before=_text(name, _cost(name, before)),
                after=_text(name, _cost(name, trial.costs)),
                limit=_text(name, _limit(name, trial)),
                price=_price(name, trial, explanation, pressures),
                hint="before: {}\nafter: {}".format(*explanation.bottlenecks[name]),
                kernel_before=explanation.bottlenecks[name][0],
                kernel_after=explanation.bottlenecks[name][1],
            )
            for name in PRICED
        ],
        dearest=None if dearest is None else _dearest(dearest, explanation),
        margins=_margins(trial),
    )


def _limits(trial: TrialRecord) -> dict[str, float]:
    """Return the limit that each estimate had to meet; without one, the network's own cost."""
    costs = {name: 0.0 if trial.costs is None else cost_of(trial.costs, name) for name in PRICED}
    limits = {name: _effective_limit(name, trial) for name in RESOURCES}
    return costs | {name: limit for name, limit in limits.items() if limit is not None}


def _cost(name: str, costs: Costs | None) -> float | None:
    return None if costs is None else cost_of(costs, name)


def _limit(name: str, trial: TrialRecord) -> float | None:
    return limit_of(trial.budget, name) if name in RESOURCES else None


def _effective_limit(name: str, trial: TrialRecord) -> float | None:
    """Return the limit that an estimate had to meet: that of the budget, less a margin for what
    is measured.
    """
    return limit_of(trial.held or trial.budget, name) if name in RESOURCES else None


def _margins(trial: TrialRecord) -> str:
    """Return the limits that estimates had to meet, if they differ from the budget as shown."""
    limits = {
        name: (_text(name, _effective_limit(name, trial)), _text(name, _limit(name, trial)))
        for name in RESOURCES
    }
    return ", ".join(
        f"{NAMES[name]} to {effective}"
        for name, (effective, limit) in limits.items()
        if effective != limit
    )


def _text(name: str, value: float | None) -> str:
    if name == "latency_ms":
        return duration(value)
    if name == "macs":
        return DASH if value is None else work(round(value))
    return size(value)


def _price(
    name: str, trial: TrialRecord, explanation: Explanation, pressures: Mapping[str, float]
) -> _Price:
    if name not in explanation.prices:
        return _Price("no limit", DASH, binds=False)
    if pressures[name] != 0:
        amount, unit = _rate(name, explanation)
        return _Price(f"{amount} per {unit}", short(pressures[name] / 100), binds=True)
    cost, limit = _cost(name, trial.costs), _effective_limit(name, trial)
    if cost is not None and limit is not None and cost > _FULL * limit:
        return _Price("0, filled by rounding", "0", binds=False, hint=_ROUNDED)
    return _Price("0, does not bind", "0", binds=False)


def _dearest(name: str, explanation: Explanation) -> _Dearest:
    return _Dearest(NAMES[name], *_rate(name, explanation))


def _rate(name: str, explanation: Explanation) -> tuple[str, str]:
    """Return a price in modelled training loss, and the unit of the resource that it is for."""
    factor, unit = _PER[name]
    return short(factor * explanation.prices[name]), unit
