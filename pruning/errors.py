"""What can go wrong in the engine, as one tree.

PruningError                  anything below
├── UnsupportedOperatorError  the network holds something the engine cannot cost or prune
├── BudgetError               a budget that cannot be read or met
├── DeviceError               a microcontroller that is not known or makes no sense
├── DeployError               a network that no microcontroller code can be made for
│   ├── ToolchainError        a compiler that is missing or fails
│   └── EmulatorError         an emulated core that faults or hangs
├── DataError                 a data set that is missing or malformed
├── OutputError               a file that cannot be written, or is not paring's to replace
├── WeightsError              starting weights that do not fit the network
├── DivergedError             the loss is no longer a number
└── CheckpointError           a stored network or state that cannot be trusted or read

Every message says what, the value, the limit and the cure.
"""

import sys
import warnings
from math import inf, isfinite


class PruningError(Exception):
    """The root of all errors of `pruning`.

    Example:
        >>> import pruning
        >>> try:
        ...     pruning.device("esp32")
        ... except pruning.PruningError as error:
        ...     print(type(error).__name__)
        DeviceError
    """


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
    """The network holds an operator that the engine cannot cost or prune.

    Example:
        >>> import pruning, torch
        >>> pruning.inspect(torch.nn.LSTM(4, 4), torch.zeros(1, 4), "stm32f446")
        Traceback (most recent call last):
            ...
        pruning.errors.UnsupportedOperatorError: ...
    """


class BudgetError(PruningError):
    """A budget cannot be read, or cannot be met by any width.

    Example:
        >>> import pruning
        >>> pruning.Budget.of(flash="a lot")
        Traceback (most recent call last):
            ...
        pruning.errors.BudgetError: flash_bytes: cannot read the limit 'a lot'; write a positive...
    """


class DeviceError(PruningError):
    """A microcontroller is not known by its name, or its numbers make no sense.

    Example:
        >>> import pruning
        >>> pruning.device("stm32")
        Traceback (most recent call last):
            ...
        pruning.errors.DeviceError: device 'stm32': not in the catalogue; write stm32...
    """


class DeployError(PruningError):
    """A network cannot be made to run on a microcontroller: it has no exact int8 form, or what
    builds and runs it is missing or fails.

    Example:
        >>> import pruning, torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Softmax(1))
        >>> for obstacle in pruning.inspect(net, torch.zeros(1, 6, 6), "stm32f446").obstacles:
        ...     print(obstacle)
        1.softmax (softmax): has no integer kernel
    """


class ToolchainError(DeployError):
    """The compiler for microcontrollers is missing, or refuses what it is given."""


class EmulatorError(DeployError):
    """An emulated core faulted, or did not come to an end."""


class DataError(PruningError):
    """A data set is missing or malformed.

    Example:
        >>> import pruning
        >>> pruning.data.npz("nowhere.npz")
        Traceback (most recent call last):
            ...
        pruning.errors.DataError: ...
    """


class OutputError(PruningError):
    """A file cannot be written, or is somebody else's and would be replaced.

    Example:
        >>> import pruning
        >>> issubclass(pruning.OutputError, pruning.PruningError)
        True
    """


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
