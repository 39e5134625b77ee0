"""The best widths within a budget, as a convex programme, and the price of every limit.

The model of the loss is a power law in every group, the sum of s ((n / size)^-p - 1) / p, n
being a group's width and s its measured importance. Flash, instructions, MACs and the memory
live at each step are polynomials of the widths without negative coefficients. In the logarithms
of the widths the loss and every log(resource) are convex: a geometric programme (Boyd et al.,
"A tutorial on geometric programming", 2007), with one optimum. An interior-point method with
exact derivatives finds it in milliseconds; its multipliers say what more of each resource is
worth.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.budget import Budget
from pruning.cost.model import CostModel

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
GAP = 1e-5  # to the best value, in units of the mean importance times the number of groups
GROWTH = 30.0  # of the weight of the loss, from one barrier to the next
MARGIN = 1e-6  # by which bounds are relaxed, so that they have an inside


@dataclass(frozen=True, slots=True)
class Optimum:
    """The widths (groups,), the loss that the model foresees for them, and the prices.

    `prices` maps a limit to -d loss / d log(limit): next to zero where it does not bind.
    `marginal_costs` (groups,) are those prices times d log(resource) / d log(width): what a group
    has to be worth to stay as wide as it is.
    """

    widths: Vector
    loss: float
    prices: Mapping[str, float]
    marginal_costs: Vector


@dataclass(frozen=True, slots=True)
class LossModel:
    """The model of the loss: importance and original size of every group, and the power."""

    importance: Vector
    sizes: Vector
    exponent: float = 0.5

    def __call__(self, widths: Vector) -> float:
        """What the loss rises by when groups have these widths."""
        ratios = (widths / self.sizes) ** -self.exponent
        return float(self.importance @ (ratios - 1) / self.exponent)

    def neg_gradient(self, widths: Vector) -> Vector:
        """-d loss / d log(width); the second derivative is `exponent` times as much."""
        return self.importance * (widths / self.sizes) ** -self.exponent


def best_widths(
    model: CostModel,
    budget: Budget,
    loss: LossModel,
    low: Vector,
    high: Vector,
    guess: Vector | None = None,
) -> Optimum:
    """The widths between `low` and `high` (groups,) of the least loss within the budget.

    Memory is that of the order of kernels that is best at the result; a `guess` near it saves
    a search. Where not even `low` fits, `low` is the result.
    """
    widths, steps = high if guess is None else guess, None
    for _ in range(4):
        order = model.schedule([max(1, round(n)) for n in widths.tolist()])
        if order == steps:
            break
        steps = order
        limits = BudgetLimits.of(model, budget, model.live(steps).numpy())
        widths, duals = _interior(limits, loss, low, high)
    slopes, _ = limits.slopes(widths)
    return Optimum(widths, loss(widths), limits.prices(duals), duals @ slopes)


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Constraints n'Qn + q'n + c <= b, one a row. Memory rows are linear."""

    names: tuple[str, ...]
    product: NDArray[np.float64]  # (rows, groups, groups), symmetric
    linear: NDArray[np.float64]  # (rows, groups)
    constant: Vector
    bound: Vector

    @staticmethod
    def of(model: CostModel, budget: Budget, live: NDArray[np.float64]) -> "BudgetLimits":
        """Those of a budget; `live` are the forms of memory, (moments, groups)."""
        groups = len(model.graph.channels.groups)
        rows: list[tuple[str, Matrix, Vector, float, float]] = []
        for name, limit in budget.limits.items():
            if name == "sram_bytes":
                zero = np.zeros((groups, groups))
                rows += [(name, zero, line, 0.0, limit) for line in np.unique(live, axis=0)]
            else:
                rows.append((name, *model.form(name), limit))
        return BudgetLimits(
            names=tuple(row[0] for row in rows),
            product=np.array([row[1] for row in rows]).reshape(-1, groups, groups),
            linear=np.array([row[2] for row in rows]).reshape(-1, groups),
            constant=np.array([row[3] for row in rows]),
            bound=np.array([row[4] for row in rows], dtype=np.float64),
        )

    def slack(self, n: Vector) -> Vector:
        """log(bound / resource) of every row."""
        resource = (self.product @ n + self.linear) @ n + self.constant
        slack: Vector = np.log(self.bound / np.maximum(resource, 1e-9))
        return slack

    def slopes(self, n: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First and second derivatives of log(resource) to log(widths), per row."""
        resource = self.bound * np.exp(-self.slack(n))
        first = (2 * self.product @ n + self.linear) * n / resource[:, None]
        second = 2 * n[:, None] * self.product * n / resource[:, None, None]
        second += np.einsum("rg,gh->rgh", first, np.eye(len(n)))
        return first, second - first[:, :, None] * first[:, None, :]

    def prices(self, duals: Vector) -> dict[str, float]:
        """What the limits of each resource are worth together, from the force of each row."""
        prices = dict.fromkeys(self.names, 0.0)
        for name, force in zip(self.names, duals.tolist(), strict=True):
            prices[name] += force
        return prices


def _interior(
    limits: BudgetLimits, loss: LossModel, low: Vector, high: Vector
) -> tuple[Vector, Vector]:
    """Newton's method on the logarithmic barrier, for ever smaller barriers."""
    free = np.flatnonzero(high > low)
    bottom, top = np.log(low) - MARGIN, np.log(high) + MARGIN
    x = _start(limits, np.log(low), np.log(high))
    if x is None or not len(free):
        return low, np.zeros(len(limits.names))
    barriers = len(limits.names) + 2 * len(free)
    scale = max(loss.importance[free].mean(), 1e-30)
    weight = 1 / scale

    def merit(x: Vector) -> float:
        reserve = np.concatenate([limits.slack(np.exp(x)), (top - x)[free], (x - bottom)[free]])
        if (reserve <= 0).any():
            return float("inf")
        return float(weight * loss(np.exp(x)) - np.log(reserve).sum())

    while barriers / weight > GAP * scale * len(free) / GROWTH:
        for _ in range(60):
            pull = weight * loss.neg_gradient(np.exp(x))
            step, decrement = _newton(limits, pull, loss.exponent, x, bottom, top, free)
            if decrement < 1e-7:
                break
            x = _line_search(merit, x, step, decrement)
        weight *= GROWTH
    duals = GROWTH / (weight * limits.slack(np.exp(x)))
    return np.clip(np.exp(x), low, high), duals


def _start(limits: BudgetLimits, bottom: Vector, top: Vector) -> Vector | None:
    """Logarithms of widths well within all limits; None if the lowest are not within them."""
    share = 0.5
    while share > 1e-7:
        x = bottom + share * (top - bottom)
        if (limits.slack(np.exp(x)) > 0).all():
            return x
        share /= 2
    return None


def _newton(
    limits: BudgetLimits,
    pull: Vector,
    exponent: float,
    x: Vector,
    bottom: Vector,
    top: Vector,
    free: NDArray[np.int64],
) -> tuple[Vector, float]:
    """The Newton step on the barrier function and its decrement."""
    n = np.exp(x)
    slack = limits.slack(n)
    first, second = limits.slopes(n)
    above, below = top - x, x - bottom
    gradient = -pull + (first / slack[:, None]).sum(0) + 1 / above - 1 / below
    curve = np.einsum("rgh,r->gh", second, 1 / slack)
    curve += np.einsum("rg,rh,r->gh", first, first, 1 / slack**2)
    curve += np.diag(exponent * pull + 1 / above**2 + 1 / below**2)
    step = np.zeros(len(x))
    step[free] = -np.linalg.solve(curve[np.ix_(free, free)], gradient[free])
    return step, float(-gradient[free] @ step[free])


def _line_search(
    merit: Callable[[Vector], float], x: Vector, step: Vector, decrement: float
) -> Vector:
    before, length = merit(x), 1.0
    while merit(x + length * step) > before - 0.2 * length * decrement:
        length /= 2
        if length < 1e-10:
            return x
    return x + length * step
