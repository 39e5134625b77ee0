"""The loops of kernels in generated C: how often each is passed, or what a pass takes."""

from typing import Any, NamedTuple


class LoopCosts(NamedTuple):
    """A number for each loop of a kernel: how often it is passed, or what a pass takes.

    Per multiply-accumulate, in windows that lie inside and in those that hang over (all those
    of transposed convolutions); per tap and channel of the latter; per output element (bias,
    requantisation, store), per pixel over all channels, per call, and per tap of every pixel,
    over all channels. Of convolutions also per run of codes that follow each other and channel,
    and per multiply-accumulate that is beyond the last whole word of a run; where a window is
    copied first, per tap that is copied by itself, per code, and per line that is copied as a
    whole.
    """

    mac: Any = 0.0
    cut_mac: Any = 0.0
    cut_tap: Any = 0.0
    element: Any = 0.0
    pixel: Any = 0.0
    call: Any = 0.0
    tap: Any = 0.0
    run: Any = 0.0
    tail: Any = 0.0
    copy: Any = 0.0
    line: Any = 0.0
