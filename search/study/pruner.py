"""Early stopping with several objectives: a trial that another dominates is not trained on.

At rungs, shares of their epochs, trials are compared with all that came so far, each by its
score and its budget: one ends if another with no larger limit is better beyond a margin. In the
manner of MO-ASHA (Schmucker et al., "Multi-objective Asynchronous Successive Halving", as in
Syne Tune), which ranks by dominance too; there a share of each rung goes on, here all that the
margin spares.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pruning.budget import Budget
from search.config.schema import StoppingConfig
from search.errors import ConfigError
from search.study.limits import fits_within


@dataclass(frozen=True, slots=True)
class RungReport:
    """A trial at a rung. `gain` is its score between chance (0) and the best possible (1)."""

    number: int
    budget: Budget
    gain: float


@dataclass(frozen=True, slots=True)
class RungPruner:
    """When trials are judged, and how strictly."""

    shares: tuple[float, ...]
    margin: float
    min_trials: int

    @staticmethod
    def of(config: StoppingConfig) -> "RungPruner":
        """The rungs of a config.

        Raises:
            ConfigError: a value that makes no sense.
        """
        shares = tuple(config.rungs)
        if any(not 0 < share < 1 for share in shares) or list(shares) != sorted({*shares}):
            raise ConfigError(
                f"stopping.rungs={list(shares)}: shares of a trial's epochs, between 0 and 1 "
                "and rising, such as [0.4,0.6,0.8]"
            )
        if not 0 <= config.margin < 1 or config.min_trials < 2:
            raise ConfigError(
                f"stopping.margin={config.margin} stopping.min_trials={config.min_trials}: a "
                "margin from 0 to 1, and at least 2 trials"
            )
        return RungPruner(shares, config.margin, config.min_trials)

    def at(self, epoch: int, of: int) -> int | None:
        """The rung that an epoch ends at, if it does; several at one epoch are the last."""
        ends = {max(1, round(share * of)): rung for rung, share in enumerate(self.shares)}
        return ends.get(epoch) if epoch < of else None

    def better(self, own: RungReport, others: Iterable[RungReport]) -> RungReport | None:
        """The trial that ends another's training at a rung, or None while it may go on."""
        rivals = [other for other in others if other.number != own.number]
        if len(rivals) + 1 < self.min_trials:
            return None
        beyond = own.gain + self.margin
        winners = [o for o in rivals if o.gain > beyond and fits_within(o.budget, own.budget)]
        return max(winners, key=lambda other: (other.gain, -other.number), default=None)
