"""Early stopping with several objectives: training ends for a trial that another dominates.

Rungs are shares of a trial's epochs. At each rung a trial is compared, by its score and its
budget, with all trials that have reached the rung before: it is stopped if another one, none of
whose limits is larger, is better by more than a margin. MO-ASHA (Schmucker et al.,
"Multi-objective Asynchronous Successive Halving", as in Syne Tune) ranks by dominance, too, but
there a fixed share of each rung goes on; here all trials within the margin do.
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
            ConfigError: a value makes no sense.
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
        """The rung at the end of an epoch, if there is one; of several, the last.

        Args:
            epoch: counted from 1.
            of: how many epochs the trial has.
        """
        ends = {max(1, round(share * of)): rung for rung, share in enumerate(self.shares)}
        return ends.get(epoch) if epoch < of else None

    def better(self, report: RungReport, others: Iterable[RungReport]) -> RungReport | None:
        """The best trial among `others` that stops the reported one; None if that may go on."""
        rivals = [other for other in others if other.number != report.number]
        if len(rivals) + 1 < self.min_trials:
            return None
        threshold = report.gain + self.margin
        winners = [
            rival
            for rival in rivals
            if rival.gain > threshold and fits_within(rival.budget, report.budget)
        ]
        return max(winners, key=lambda winner: (winner.gain, -winner.number), default=None)
