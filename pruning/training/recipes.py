"""The usual recipes: one schedule of the learning rate, cut into phases."""

from math import ceil

from pruning.errors import require
from pruning.training.job import Phase, PhaseKind, Recipe

WARM = 0.1  # of the learning rate, where warming up begins


def recipe(
    dense: int = 0,
    prune: int = 8,
    finetune: int = 8,
    *,
    warmup: int = 1,
    lr_factor: float = 0.5,
    qat_share: float = 0.0,
) -> Recipe:
    """The phases of a training run: train the whole network, prune it, then fine-tune.

    Args:
        dense: epochs of training before any pruning: none for a network that is trained, 20 for
            one with random weights, say. The learning rate rises for `warmup` of them, then
            falls to zero.
        prune: epochs in which channels go, at a constant learning rate.
        finetune: epochs after that; the learning rate falls to zero.
        warmup: epochs of `dense`, one less than these at most.
        lr_factor: the learning rate of pruning, as a share of the optimizer's, above 0.
        qat_share: of the epochs of fine-tuning, from the last one on, the share in which all
            that is computed is rounded to int8.

    Raises:
        PruningError: a number out of its bounds.

    Example:
        >>> import pruning
        >>> [(phase.kind.value, phase.epochs) for phase in pruning.recipe(dense=10, finetune=4)]
        [('dense', 1), ('dense', 9), ('prune', 8), ('finetune', 4)]
    """
    require("lr_factor", lr_factor, above=0)
    require("qat_share", qat_share, least=0, most=1)
    for name, epochs in (("dense", dense), ("prune", prune), ("finetune", finetune)):
        require(name, epochs, least=0)
    parts = (*_dense(dense, warmup), *_pruning(prune, finetune, lr_factor, qat_share))
    return tuple(part for part in parts if part.epochs > 0)


def _dense(epochs: int, warmup: int) -> Recipe:
    warmup = max(0, min(warmup, epochs - 1))
    return (
        Phase(kind=PhaseKind.DENSE, epochs=warmup, lr_factor=(WARM, 1.0)),
        Phase(kind=PhaseKind.DENSE, epochs=epochs - warmup),
    )


def _pruning(prune: int, finetune: int, rate: float, qat_share: float) -> Recipe:
    rounded = ceil(qat_share * finetune)
    between = rate * rounded / max(finetune, 1)
    return (
        Phase(kind=PhaseKind.PRUNE, epochs=prune, lr_factor=(rate, rate)),
        Phase(kind=PhaseKind.FINETUNE, epochs=finetune - rounded, lr_factor=(rate, between)),
        Phase(kind=PhaseKind.QUANTIZE, epochs=rounded, lr_factor=(between, 0.0)),
    )
