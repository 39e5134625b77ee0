"""Batch norm while training.

Where channels lie last in memory torch computes as many of them at once as a register holds,
and a network of few channels leaves most of it idle: with ten channels a batch norm takes as
long as its convolution. The same memory read as rows of several pixels fills the registers; the
statistics of a row's pixels are then joined into those of the channels.
"""

from collections.abc import Callable
from math import gcd
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

FEW = 16  # channels: so many fill a register themselves
MANY = 200_000  # elements: for fewer it is not worth the calls
PIXELS = 16  # in a row, at most


def batch_norm(
    values: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    momentum: float,
    epsilon: float,
) -> Tensor:
    """Values (batch, channels, ...) by the statistics of the batch; `mean` and `variance`
    (channels,) move towards them.
    """
    if not _narrow(values):
        return functional.batch_norm(
            values, mean, variance, scale, shift, training=True, momentum=momentum, eps=epsilon
        )
    middle, spread = _statistics(values.detach(), mean, variance)
    count = values.numel() // len(middle)
    mean.lerp_(middle, momentum)
    variance.lerp_(spread * (count / (count - 1)), momentum)
    return _normalised(values, scale, shift, middle, (spread + epsilon).rsqrt())


def _narrow(values: Tensor) -> bool:
    """Whether reading several pixels at once is faster."""
    return (
        values.dim() == 4
        and values.device.type == "cpu"
        and values.shape[1] < FEW
        and values.numel() >= MANY
        and values.is_contiguous(memory_format=torch.channels_last)
    )


def _statistics(values: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, from those of the columns of rows."""
    rows = _rows(values)
    pixels = rows.shape[1] // len(mean)
    # With running statistics and a momentum of 0, torch accumulates bf16 input in fp32.
    idle = mean.repeat(pixels), variance.repeat(pixels)
    means, variances = (
        each.view(pixels, -1) for each in torch.batch_norm_update_stats(rows, *idle, momentum=0.0)
    )
    return means.mean(0), variances.mean(0) + means.var(0, correction=0)


class Rows(torch.autograd.Function):
    """Values normalised by their own mean and 1 / deviation (channels,), then scaled and
    shifted, several pixels at once; the gradient is that of a batch norm.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scale: Tensor, shift: Tensor, middle: Tensor, rate: Tensor
    ) -> Tensor:
        """The result, with channels last as the values have them."""
        ctx.save_for_backward(values, scale, middle, rate)
        factor = scale * rate
        return _like(_affine(_rows(values), factor, shift - middle * factor), values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of values, scale and shift."""
        values, scale, middle, rate = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        rows, slopes = _rows(values), _rows(gradient)
        pixels, count = rows.shape[1] // len(middle), values.numel() // len(middle)
        to_scale, to_shift = (
            each.view(pixels, -1).sum(0)
            for each in _sums(slopes, rows, middle.repeat(pixels), rate.repeat(pixels))
        )
        # to values: scale rate (g - mean(g) - normalised mean(g normalised))
        factor = scale * rate
        bend = -factor * rate * to_scale / count
        result = _affine(slopes, factor, -factor * to_shift / count - bend * middle)
        result.addcmul_(rows, bend.to(rows.dtype).repeat(pixels))
        return _like(result, gradient), to_scale, to_shift, None, None


_normalised: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] = Rows.apply


def _rows(values: Tensor) -> Tensor:
    """The same memory as (rows, pixels of a row x channels)."""
    channels = values.shape[1]
    pixels = gcd(values.numel() // channels, PIXELS)
    return values.permute(0, 2, 3, 1).reshape(-1, pixels * channels)


def _like(rows: Tensor, values: Tensor) -> Tensor:
    """Rows as what they were made from."""
    batch, channels, *size = values.shape
    return rows.view(batch, *size, channels).permute(0, 3, 1, 2)


def _affine(rows: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """Rows times `factor` plus `offset` (channels,), computed in fp32, with the rows' type."""
    pixels = rows.shape[1] // len(factor)
    one, zero = factor.new_ones(rows.shape[1]), factor.new_zeros(rows.shape[1])
    return functional.batch_norm(
        rows, zero, one, factor.repeat(pixels), offset.repeat(pixels), eps=0.0
    )


def _sums(gradient: Tensor, rows: Tensor, means: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """By column the sums of gradient x normalised rows and of the gradient, in fp32."""
    backward = torch.ops.aten.native_batch_norm_backward
    _, products, sums = backward(
        gradient, rows, None, None, None, means, rates, True, 0.0, [False, True, True]
    )
    return products, sums
