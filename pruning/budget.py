"""Budgets, costs and devices, and sizes as people write them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf, isfinite, isnan, nextafter
from typing import Any

from pruning.errors import BudgetError

RESOURCES = ("flash_bytes", "sram_bytes", "latency_ms")
LIMITS = (*RESOURCES, "macs")
WORD_BYTES = 4
BYTES = {
    "b": 1.0, "k": 1024.0, "kib": 1024.0, "kb": 1000.0,
    "m": 1024.0**2, "mib": 1024.0**2, "mb": 1000.0**2,
}  # fmt: skip
UNITS = {
    "flash_bytes": BYTES,
    "sram_bytes": BYTES,
    "latency_ms": {"us": 1e-3, "ms": 1.0, "s": 1000.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one network costs. Estimated by the cost model unless said otherwise.

    Args:
        flash_bytes: weights, tables and code of its own; the kernels, which are the same for
            every network, are not among them.
        sram_bytes: the largest sum of buffers that are needed at once.
        latency_ms: of one inference.
        macs: multiply-accumulates of one inference.

    Example:
        >>> import pruning
        >>> cost = pruning.Cost(flash_bytes=30_000, sram_bytes=6_000, latency_ms=4.2, macs=1_000)
        >>> pruning.Budget.of(flash="32 KiB").holds(cost)
        True
    """

    flash_bytes: int
    sram_bytes: int
    latency_ms: float
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Upper limits; None where a resource is not limited.

    Args:
        flash_bytes: of what `Cost.flash_bytes` counts, and so on.
        sram_bytes: likewise.
        latency_ms: in milliseconds.
        macs: multiply-accumulates.

    Raises:
        BudgetError: a limit is NaN.

    Example:
        >>> import pruning
        >>> pruning.Budget.of(flash="32 KiB", latency="20 ms").limits
        {'flash_bytes': 32768, 'latency_ms': 20.0}
    """

    flash_bytes: int | None = None
    sram_bytes: int | None = None
    latency_ms: float | None = None
    macs: int | None = None

    def __post_init__(self) -> None:
        if unread := [name for name, limit in self.limits.items() if isnan(limit)]:
            raise BudgetError(f"{' and '.join(unread)} is no number; write one, or None")

    @staticmethod
    def of(
        flash: str | float | None = None,
        sram: str | float | None = None,
        latency: str | float | None = None,
        dense: Cost | None = None,
    ) -> "Budget":
        """A budget as people write it (see `parse_limit`).

        Args:
            flash: "32 KiB", "32 kB", or a number of bytes; None for no limit.
            sram: likewise.
            latency: "20 ms", or a number of milliseconds; None for no limit.
            dense: of which cost shares such as "25 %" are.

        Raises:
            BudgetError: a limit that cannot be read.
        """
        texts = {"flash_bytes": flash, "sram_bytes": sram, "latency_ms": latency}
        limits = {
            name: parse_limit(name, text, getattr(dense, name, None))
            for name, text in texts.items()
            if text is not None
        }
        return Budget.from_limits(limits)

    @staticmethod
    def from_limits(limits: Mapping[str, float]) -> "Budget":
        """A budget of limits by resource. All but milliseconds are rounded down to whole ones, so
        that no limit grows.
        """
        whole: dict[str, Any] = {
            name: limit if name == "latency_ms" else int(limit) for name, limit in limits.items()
        }
        return Budget(**whole)

    def intersect(self, other: "Budget") -> "Budget":
        """The budget of all that is within both."""
        both = self.limits | other.limits
        limits = {name: min(self.limits.get(name, limit), limit) for name, limit in both.items()}
        return Budget.from_limits(limits)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by resource."""
        named = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in named.items() if value is not None}

    def overshoot(self, cost: Cost) -> dict[str, float]:
        """cost / limit - 1 for every limited resource; at most 0 where the limit holds, and
        infinite where it leaves nothing.
        """
        return {
            name: getattr(cost, name) / limit - 1 if limit > 0 else inf
            for name, limit in self.limits.items()
        }

    def holds(self, cost: Cost) -> bool:
        """Whether every limit holds exactly."""
        return all(getattr(cost, name) <= limit for name, limit in self.limits.items())

    def with_margins(self, margins: Mapping[str, float]) -> "Budget":
        """What estimates must stay within so that measurements stay within this budget.

        A margin is the share of an estimate by which what is measured may be more, by resource;
        so each limit is divided by 1 + its margin. Bytes are rounded down to whole ones.
        """
        limits = {name: limit / (1 + margins.get(name, 0.0)) for name, limit in self.limits.items()}
        return Budget.from_limits(limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A microcontroller and what it leaves for a network.

    `cycles_per_instruction` turns counted instructions into cycles; it is assumed, not
    measured, unless `source` says otherwise. The reserved bytes are for firmware, stack and
    runtime. `loops` holds instructions by kind of kernel, in the order of
    `pruning.ir.loops.LoopCosts`, where they differ from those of the core. The margins are
    those of `Budget.with_margins`.

    Args:
        name: of the chip or board.
        core: its processor core, such as "cortex-m4".
        clock_hz: in Hz.
        cycles_per_instruction: memory wait states and pipeline, on average.
        flash_bytes: as the datasheet has them, and so on.
        sram_bytes: likewise.
        reserved_flash_bytes: of these not for a network.
        reserved_sram_bytes: likewise.
        source: of the cycles.
        loops: instructions by kind of kernel.
        flash_margin: the share of an estimate by which flash may be more as measured.
        latency_margin: likewise.

    Example:
        >>> import pruning
        >>> mine = pruning.Device(
        ...     name="mine", core="cortex-m4", clock_hz=80e6, cycles_per_instruction=1.3,
        ...     flash_bytes=2**18, sram_bytes=2**16,
        ...     reserved_flash_bytes=2**14, reserved_sram_bytes=2**13,
        ... )
        >>> mine.budget.limits
        {'flash_bytes': 245760, 'sram_bytes': 57344}
    """

    name: str
    core: str
    clock_hz: float
    cycles_per_instruction: float
    flash_bytes: int
    sram_bytes: int
    reserved_flash_bytes: int
    reserved_sram_bytes: int
    source: str = "assumed"
    loops: Mapping[str, Sequence[float]] = field(default_factory=dict, hash=False)
    flash_margin: float = 0.0
    latency_margin: float = 0.0

    @property
    def budget(self) -> Budget:
        """The memory that is left for a network; latency is not limited by a device."""
        return Budget(
            flash_bytes=self.flash_bytes - self.reserved_flash_bytes,
            sram_bytes=self.sram_bytes - self.reserved_sram_bytes,
        )

    def guarded(self, budget: Budget) -> Budget:
        """What estimates must stay within so that measurements stay within a budget: it, with
        this device's margins. Static memory takes whole words.
        """
        margins = {"flash_bytes": self.flash_margin, "latency_ms": self.latency_margin}
        guarded = budget.with_margins(margins)
        if guarded.sram_bytes is None:
            return guarded
        words = guarded.sram_bytes // WORD_BYTES
        return replace(guarded, sram_bytes=words * WORD_BYTES)

    def needed(self, name: str, estimate: float) -> float:
        """The least limit on a resource whose guarded form an estimate of it holds."""
        match name:
            case "flash_bytes":
                least = ceil(estimate * (1 + self.flash_margin))
                near = (least - 1, least, least + 1)
                return next(n for n in near if n / (1 + self.flash_margin) >= estimate)
            case "sram_bytes":
                return ceil(estimate / WORD_BYTES) * WORD_BYTES
            case "latency_ms":
                return _dividend(estimate, 1 + self.latency_margin)
            case _:
                return estimate

    def milliseconds(self, instructions: float) -> float:
        """Time for so many instructions."""
        return instructions * self.cycles_per_instruction / self.clock_hz * 1e3


def _dividend(quotient: float, divisor: float) -> float:
    """The least number that is, divided and rounded, at least the quotient."""
    least = quotient * divisor
    while (less := nextafter(least, 0.0)) / divisor >= quotient and less > 0:
        least = less
    while least / divisor < quotient:
        least = nextafter(least, inf)
    return least


def parse_limit(resource: str, value: str | float, dense: float | None = None) -> float:
    """A limit as people write it: "24 KiB", "20 ms", 4096, or "12 %" of the dense cost.

    Bytes are rounded down to whole ones. A bare number is in the resource's own unit.

    Raises:
        BudgetError: not a number, an unknown unit, not positive, or a share of nothing.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*([a-z%]*)\s*", str(value).lower())
    units = UNITS[resource]
    try:
        number = float(match[1]) if match else 0.0
    except ValueError:
        number = 0.0
    unit = match[2] if match else ""
    readable = unit in units or unit == "" or (unit == "%" and dense is not None)
    if number <= 0 or not readable:
        raise BudgetError(
            f"{resource}: cannot read the limit {value!r}; write a positive number with one of "
            f"the units {', '.join(units)}{' or %' if dense is not None else ''}; one without "
            f"a unit is {'ms' if resource == 'latency_ms' else 'bytes'}"
        )
    share = dense is not None and unit == "%"
    limit = number * (dense or 0) / 100 if share else number * units.get(unit, 1)
    if not isfinite(limit) or (resource != "latency_ms" and limit < 1):
        raise BudgetError(f"{resource}: the limit {value!r} is not within 1 byte and infinity")
    return float(int(limit)) if resource != "latency_ms" else limit


def parse_margin(value: object) -> float:
    """The share of an estimate by which more may be measured: "10%" or 0.1.

    Raises:
        BudgetError: not from 0 up to, and without, 1.
    """
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise BudgetError(f"margin={value}: a share of every estimate, such as 10% or 0.1")
    return share
