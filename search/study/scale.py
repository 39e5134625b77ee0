"""The one scale on which scores of any metric are compared."""


def normalized_score(score: float, chance: float, best: float) -> float:
    """A score between that of chance (0) and the best possible (1), whichever way it counts.

    Both are those that the metric states; `Task.score` sees to it that no score is beyond.
    """
    return (score - chance) / (best - chance)
