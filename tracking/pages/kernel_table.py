"""Where memory, flash and time go, kernel by kernel, as an HTML table: a bar for each."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tracking.pages.labels import shortened
from tracking.pages.page import percentage, render
from tracking.pages.plot_layout import REACH
from tracking.profile import KernelLine, Profile
from tracking.records import Limits
from tracking.tables import count, duration, size, work

_BY = "\u00d7"  # between the extents of a shape
_USES = (
    ("writes", "what the kernel makes"),
    ("reads", "what it reads, but for what it has written over"),
    ("waits", "what waits for a later kernel"),
)  # of the bytes in memory while a kernel runs, from left to right


class _Scales(NamedTuple):
    """The largest value of each column. Memory is drawn up to `reach_bytes`, and its limit at
    `limit_bytes` unless that is None: there is none, or it is far out.
    """

    memory_bytes: int
    limit_bytes: int | None
    reach_bytes: int
    flash_bytes: int
    latency_ms: float


class _Cost(NamedTuple):
    """A cost of a kernel: its bar, empty for nothing, and its number."""

    width: str
    largest: bool
    text: str


class _Row(NamedTuple):
    """A kernel's row. `channels_before` is None where pruning changed none."""

    is_peak: bool
    hint: str
    name: str
    operators: str
    channels_before: int | None
    shape: str
    buffers: list[tuple[str, str]]
    memory: str
    flash: _Cost
    latency: _Cost


class _RemovedRow(NamedTuple):
    """The row of a kernel that pruning removed."""

    hint: str
    name: str
    kind: str
    shape: str


def usage_card(profile: Profile, limits: Limits) -> Markup:
    """Return a row for each kernel, in the order in which the kernels run, without a script.

    Kernels that are gone stand at the end.
    """
    before = {line.name: line for line in profile.before}
    after = {line.name for line in profile.after}
    scales = _scales(profile.after, limits.sram_bytes)
    limit, reach = scales.limit_bytes, scales.reach_bytes
    return render(
        "kernel_table.html.j2",
        uses=_USES,
        sram_limit=None if limits.sram_bytes is None else size(limits.sram_bytes),
        limit_offset="" if limit is None else percentage(limit, reach),
        labels=shortened(line.name for line in (*profile.after, *profile.before)),
        rows=[_row(line, before.get(line.name), scales) for line in profile.after],
        removed=[_removed(line) for line in profile.before if line.name not in after],
    )


def _scales(lines: Sequence[KernelLine], limit: int | None) -> _Scales:
    peak = max((line.live_bytes for line in lines), default=0)
    near = limit if limit is not None and limit <= REACH * peak else None
    return _Scales(
        memory_bytes=peak,
        limit_bytes=near,
        reach_bytes=max(peak, near or 0, 1),
        flash_bytes=max((line.flash_bytes for line in lines), default=0),
        latency_ms=max((line.latency_ms for line in lines), default=0.0),
    )


def _row(line: KernelLine, before: KernelLine | None, scales: _Scales) -> _Row:
    flash, latency = line.flash_bytes, line.latency_ms
    same = before is None or before.shape[0] == line.shape[0]
    return _Row(
        is_peak=line.live_bytes == scales.memory_bytes,
        hint=_in_words(line, before),
        name=line.name,
        operators=_operators(line),
        channels_before=None if before is None or same else before.shape[0],
        shape=_BY.join(map(str, line.shape)),
        buffers=_buffers(line, scales.reach_bytes),
        memory=size(line.live_bytes),
        flash=_cost(flash, scales.flash_bytes, size(flash)),
        latency=_cost(latency, scales.latency_ms, duration(latency)),
    )


def _removed(line: KernelLine) -> _RemovedRow:
    return _RemovedRow(_in_words(line, None), line.name, line.kind, _BY.join(map(str, line.shape)))


def _buffers(line: KernelLine, reach: int) -> list[tuple[str, str]]:
    """Return what memory is used for, with the width of its bar."""
    written = line.live.get(line.writes, 0)
    read = sum(line.live.get(name, 0) for name in {*line.reads} - {line.writes})
    uses = {"writes": written, "reads": read, "waits": line.live_bytes - written - read}
    return [(use, percentage(uses[use], reach)) for use, _ in _USES if uses[use]]


def _cost(value: float, largest: float, text: str) -> _Cost:
    width = percentage(value, largest) if value else ""
    return _Cost(width, value == largest and value > 0, text)


def _operators(line: KernelLine) -> str:
    return " + ".join([line.kind, *line.fused])


def _in_words(line: KernelLine, before: KernelLine | None) -> str:
    buffers = ", ".join(f"{name} {size(used)}" for name, used in line.live.items())
    words = [
        f"{line.name}: {_operators(line)}",
        f"in memory: {buffers} ({count(len(line.live), 'buffer')}, {size(line.live_bytes)})",
        f"flash {size(line.flash_bytes)}, {duration(line.latency_ms)}, {work(line.macs)} MACs",
    ]
    if before is not None:
        words.append(
            f"before pruning: memory {size(before.live_bytes)}, flash "
            f"{size(before.flash_bytes)}, {duration(before.latency_ms)}, "
            f"{work(before.macs)} MACs"
        )
    return "\n".join(words)
