"""What a kernel's exact evaluation works with: sums without rounding, and requantization, in torch.

Sums of products are integers that single or double precision holds exactly. Scaling them is
rounded where floating point leaves no doubt about the nearest integer; where two are about
equally near, the arithmetic of the reference decides.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pruning.deploy.fixed_point import WORD, FixedPointMultiplier, requantize
from pruning.deploy.integer_ir import HIGH, LOW, IntegerKernel, IntegerNetwork
from pruning.errors import DeployError

SINGLE, DOUBLE = 1 << 24, 1 << 53  # integers up to here are exact
DOUBT = 2e-4  # of a rounded result up to 512, from single precision; larger ones are clipped
STEPS = HIGH - LOW  # the largest difference of two codes

TorchFunction = Callable[..., Tensor]  # operands above their zero points -> results above theirs


@final
class ExactTorch:
    """The arithmetic of an integer network in torch, on one device.

    Values are codes above their zero points, (batch, channels, height, width), as
    floating-point numbers.
    """

    def __init__(self, network: IntegerNetwork, device: torch.device) -> None:
        self.network, self.device = network, device

    def tensor(self, values: Any) -> Tensor:
        """An array of numpy on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def zero_point(self, buffer: str) -> int:
        """The code of a buffer that stands for zero."""
        return self.network.codes[buffer].zero_point

    def sum_dtype(self, kernel: IntegerKernel, largest: int) -> torch.dtype:
        """A type in which sums up to `largest` are exact, whatever algorithm adds them up.

        Raises:
            DeployError: there is none.
        """
        if largest < SINGLE and self.device.type == "cpu":
            return torch.float32
        if largest >= DOUBLE:
            raise DeployError(
                f"{kernel.name}: its sums reach {largest:,}, and only those below {DOUBLE:,} "
                "are exact: keep its weights in int8 and its biases in int32"
            )
        return torch.float64

    def requantizer(self, multiplier: FixedPointMultiplier) -> TorchFunction:
        """A function from exact sums to rounded products with `multiplier`, which has one
        factor for all channels, or one for each.
        """
        mantissa, left, right = (self.tensor(part).reshape(-1) for part in multiplier)
        factor = (mantissa.double() * 2.0 ** (left - right - WORD).double()).reshape(-1, 1, 1)
        margin = DOUBT + 0.5 ** (int(right.min()) + 1)
        by_channel = len(mantissa) > 1

        def exact(sums: Tensor, place: tuple[Tensor, ...]) -> Tensor:
            channel = place[1] if by_channel else torch.zeros_like(place[1])
            value = sums[place].round().long()
            return requantize(value, mantissa[channel], left[channel], right[channel])

        def requantized(sums: Tensor) -> Tensor:
            return nearest(sums * factor.to(sums.dtype), margin, lambda place: exact(sums, place))

        return requantized


def nearest(value: Tensor, margin: float, exact: Callable[[tuple[Tensor, ...]], Tensor]) -> Tensor:
    """The nearest integers of `value`, which is overwritten. Where `value` lies within `margin`
    of the middle between two, `exact` gives them: from indices, one tensor an axis, to integers.
    """
    rounded = (value + 0.5).floor_()
    doubtful = (value.sub_(rounded).abs_() >= 0.5 - margin).nonzero(as_tuple=True)
    if len(doubtful[0]):
        rounded[doubtful] = exact(doubtful).to(rounded.dtype)
    return rounded.float()
