"""The common scale of scores of all metrics."""


def normalized_score(score: float, chance: float, best: float) -> float:
    """A score on a scale from chance (0) to the best possible score (1), whether larger or
    smaller scores are better.

    The metric states both; `Task.score` makes sure that no score is better than the best one.
    """
    return (score - chance) / (best - chance)
