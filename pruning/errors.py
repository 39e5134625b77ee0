"""What can go wrong in the engine, as one tree.

PruningError                  anything below
├── UnsupportedOperatorError  the network holds something the engine cannot cost or prune
├── BudgetError               a budget that cannot be read or met
├── DeployError               a network that no microcontroller code can be made for
│   ├── ToolchainError        a compiler that is missing or fails
│   └── EmulatorError         an emulated core that faults or hangs
├── DataError                 a data set that is missing or malformed
├── WeightsError              starting weights that do not fit the network
├── DivergedError             the loss is no longer a number
└── CheckpointError           a stored network or state that cannot be trusted or read

Every message says what, the value, the limit and the cure.
"""

import sys
import warnings
from math import inf, isfinite


class PruningError(Exception):
    """The root of all errors of `pruning`."""


def require(
    name: str,
    value: float,
    *,
    least: float = -inf,
    most: float = inf,
    above: float = -inf,
    below: float = inf,
) -> None:
    """Refuse a setting out of its bounds.

    Raises:
        PruningError: naming it, its value and the bounds.
    """
    if least <= value <= most and above < value < below:
        return
    bounds = {"at least": least, "at most": most, "above": above, "below": below}
    words = [f"{word} {bound:g}" for word, bound in bounds.items() if isfinite(bound)]
    raise PruningError(f"{name} is {value}; it must be {' and '.join(words)}")


class UnsupportedOperatorError(PruningError):
    """The network holds an operator that the engine cannot cost or prune."""


class BudgetError(PruningError):
    """A budget cannot be read, or cannot be met by any width."""


class DeployError(PruningError):
    """A network cannot be made to run on a microcontroller."""


class ToolchainError(DeployError):
    """The compiler for microcontrollers is missing, or refuses what it is given."""


class EmulatorError(DeployError):
    """An emulated core faulted, or did not come to an end."""


class DataError(PruningError):
    """A data set is missing or malformed."""


class WeightsError(PruningError):
    """Starting weights do not fit the network."""


class DivergedError(PruningError):
    """The training loss is no longer a number."""


class CheckpointError(PruningError):
    """A stored network or training state is damaged, foreign or of another version."""


class DataWarning(UserWarning):
    """A data set that can be used, but hardly as it is meant."""


def warn_of_data(text: str) -> None:
    """Give a `DataWarning` at the line, outside of this package, that asked for the data."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, DataWarning, stacklevel=level)


class PeakMemoryWarning(UserWarning):
    """The peak memory is that of a real order of the kernels, but perhaps not of the best."""
