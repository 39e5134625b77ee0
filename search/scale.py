"""The one scale on which scores of any metric are compared."""


def gain(score: float, chance: float, best: float) -> float:
    """A score between that of chance (0) and the best possible (1), whichever way it counts."""
    return (score - chance) / (best - chance)
