"""Where the next budget of a study with `budget=auto` lies: where it is likely to gain most.

All budgets lie on one line, from the loosest to the tightest, on which all limits shrink together.
First comes a coarse ladder. Then each next budget halves, geometrically, the widest step of the
score between neighbours on the line; steps that lie below half of the best gain are left alone,
as nobody picks such networks. Where every step is small, a budget is tried again with other
hyperparameters: the one that lacks most of the best gain, for each trial that it had.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from pruning.budget import Budget
from search.storage.trial_record import TrialNotes, result_of
from search.study.budgets import whole
from search.study.scale import normalized_score
from search.study.study import Study

FLOOR = 0.5  # of the best gain: no budgets are placed for less
STEP = 0.03  # of the scale from chance to the best possible score: a step that is small
NEAREST = 0.08  # between the logarithms of neighbouring limits, below which nothing fits between


@dataclass(frozen=True, slots=True)
class Tried:
    """A budget of the line. `gain`: the best normalized score of its finished trials, None while
    there is none; `trials`: how many were begun.
    """

    budget: Budget
    gain: float | None
    trials: int


def next_budget(line: Sequence[Tried]) -> Budget:
    """The budget of the next trial, given all that were begun.

    Example:
        >>> loose, tight = Budget(flash_bytes=40_000), Budget(flash_bytes=10_000)
        >>> next_budget([Tried(loose, 0.9, 1), Tried(tight, 0.5, 1)])
        Budget(flash_bytes=20000, ...)
    """
    tried = sorted(line, key=lambda one: tightness(one.budget))
    reached = _reached(tried)
    floor = FLOOR * max(reached)
    worth = [max(gain, floor) for gain in reached]
    steps = {
        (loose.budget, tight.budget): above - below
        for (loose, tight), (above, below) in zip(pairwise(tried), pairwise(worth), strict=True)
        if _apart(loose.budget, tight.budget)
    }
    widest = max(steps, key=steps.__getitem__, default=None)
    if widest is not None and steps[widest] > STEP:
        return between(*widest)
    return _again(tried, reached, floor)


def _reached(tried: Sequence[Tried]) -> list[float]:
    """What every budget allows: at least what a tighter one has reached. One without a result
    counts as the mean of its neighbours that have one.
    """
    known = [(at, one.gain) for at, one in enumerate(tried) if one.gain is not None]
    gains = [_likely(at, known) if one.gain is None else one.gain for at, one in enumerate(tried)]
    return [max(gains[at:]) for at in range(len(gains))]


def _likely(at: int, known: Sequence[tuple[int, float]]) -> float:
    looser = [gain for place, gain in known if place < at][-1:]
    tighter = [gain for place, gain in known if place > at][:1]
    return sum(looser + tighter) / max(1, len(looser + tighter))


def _again(tried: Sequence[Tried], reached: Sequence[float], floor: float) -> Budget:
    """The budget that is tried again: the one that lacks most of the best gain for each trial."""
    best = max(reached)
    lacking = {
        one.budget: (best - (gain if one.gain is None else one.gain)) / one.trials
        for one, gain in zip(tried, reached, strict=True)
        if gain >= floor
    }
    return max(lacking, key=lacking.__getitem__)


def tightness(budget: Budget) -> float:
    """How tight a budget of a line is: 0 for limits of 1, less for wider ones."""
    return -sum(log(limit) for limit in budget.limits.values())


def _apart(loose: Budget, tight: Budget) -> bool:
    """Whether there is room for another budget between two."""
    limits = loose.limits
    return any(log(limits[n] / limit) > 2 * NEAREST for n, limit in tight.limits.items())


def between(loose: Budget, tight: Budget) -> Budget:
    """The budget in the middle of two, on a logarithmic scale."""
    limits = loose.limits
    return whole({n: exp((log(limits[n]) + log(limit)) / 2) for n, limit in tight.limits.items()})


def line_of(study: Study) -> list[Tried]:
    """The budgets that the trials of a study were given, with what came of them."""
    facts, gains, counts = study.facts, dict[Budget, float](), Counter[Budget]()
    for trial in study.trials():
        budget = TrialNotes.of(trial).budget
        if not budget.limits:
            continue  # it waits for its budget
        counts[budget] += 1
        if (result := result_of(trial)) is not None:
            gain = normalized_score(result.score, facts.chance, facts.best)
            gains[budget] = max(gain, gains.get(budget, 0.0))
    return [Tried(budget, gains.get(budget), count) for budget, count in counts.items()]
