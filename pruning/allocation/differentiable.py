"""The differentiable allocation: the widths of the least modelled loss within the budget."""

from dataclasses import dataclass
from typing import ClassVar, final

from pruning.allocation.geometric_program import Vector
from pruning.allocation.measured_loss import optimum
from pruning.allocation.method import Method, Problem, Traits


@final
@dataclass(frozen=True)
class Differentiable(Method):
    """A geometric programme over measured sensitivity."""

    traits: ClassVar[Traits] = Traits(vanishing=True, measured=True)

    def widths(self, problem: Problem) -> Vector:
        """Those of the optimum."""
        return optimum(problem.masks, problem.model, problem.budget, problem).widths
