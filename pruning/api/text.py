"""Costs and tables as text."""

from collections.abc import Sequence

from pruning.budget import RESOURCES

NAMES = {"flash_bytes": "flash", "sram_bytes": "SRAM", "latency_ms": "latency", "macs": "MACs"}
NOTHING = "-"


def amount(resource: str, value: float | None) -> str:
    """Bytes, milliseconds or multiply-accumulates as people read them."""
    if value is None:
        return NOTHING
    if resource == "latency_ms":
        return f"{_short(value)} ms"
    return f"{value:,.0f}" if resource not in RESOURCES else _size(value)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length in aligned columns, the first row above a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _size(value: float) -> str:
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= scale:
            return f"{_short(value / scale)} {unit}"
    return f"{value:.0f} B"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
