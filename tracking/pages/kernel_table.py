"""Where memory, flash and time go, kernel by kernel, as an HTML table: a bar for each."""

from collections.abc import Mapping, Sequence
from html import escape

from tracking.pages.labels import folded
from tracking.pages.plot_layout import FAINT, LIMIT, REACH
from tracking.profile import KernelLine, Profile
from tracking.records import Limits
from tracking.tables import count, duration, size, work

_WRITES, _READS, _WAITS, _PEAK = "#0072b2", "#8cc1e0", "#e0c074", "#d9730d"
_BY = "\u00d7"  # between the extents of a shape
_DASHED = "stroke-width='1.6' stroke-dasharray='3 2'"

USAGE_STYLE = f"""
.usage td, .usage th {{ padding: 3px 8px; }}
.usage th {{ vertical-align: bottom; }}
.usage tbody tr:hover td {{ background: #f4f6f8; }}
.usage .bar {{ min-width: 110px; width: 22%; padding-right: 10px; }}
.usage .bar.less {{ min-width: 60px; width: 11%; }}
.usage .dim {{ color: #9aa5b1; }}
.usage tr.peak td {{ background: #fdf3ea; }}
.usage tr.peak .bytes {{ color: {_PEAK}; font-weight: 600; }}
.track {{ position: relative; display: flex; height: 14px; }}
.track i, .swatch {{ display: block; height: 14px; print-color-adjust: exact; }}
.track .limit {{ position: absolute; top: -4px; bottom: -4px; width: 0; height: auto;
  border-left: 1.5px dashed {LIMIT}; }}
.swatch {{ width: 14px; }}
.writes {{ background: {_WRITES}; }}
.reads {{ background: {_READS}; }}
.waits {{ background: {_WAITS}; }}
.taken {{ background: {FAINT}; }}
.most .taken {{ background: {_PEAK}; }}
"""

_PARTS = (
    ("writes", "what the kernel makes"),
    ("reads", "what it reads, but for what it has written over"),
    ("waits", "what waits for a later kernel"),
)


def usage_card(profile: Profile, limits: Limits) -> str:
    """Return a row for each kernel, in the order in which the kernels run.

    It is escaped and needs USAGE_STYLE and NAMES_STYLE, but no script. Kernels that are gone
    stand at the end.
    """
    known = {line.name: line for line in profile.before}
    names = folded(line.name for line in (*profile.after, *profile.before))
    staying = {line.name for line in profile.after}
    gone = [line for line in profile.before if line.name not in staying]
    table = _Table(profile.after, limits.sram_bytes)
    rows = [table.row(line, known.get(line.name), names[line.name]) for line in profile.after]
    rows += [_gone(line, names[line.name]) for line in gone]
    return (
        "<div class='card'><h2>Where memory, flash and time go, kernel by kernel in execution "
        f"order</h2>{_legend(limits.sram_bytes)}<div class='usage wide'><table><thead><tr>"
        "<th class='text'>kernel</th><th class='text'>what</th><th class='text'>output</th>"
        "<th class='text bar'>memory while it runs</th><th></th>"
        "<th class='text bar less'>flash</th><th></th>"
        "<th class='text bar less'>latency</th><th></th></tr></thead>"
        "<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div></div>\n"
    )


class _Table:
    """What all rows share: their scales, and who takes most."""

    def __init__(self, lines: Sequence[KernelLine], limit: int | None) -> None:
        self.peak = max((line.live_bytes for line in lines), default=0)
        self.flash = max((line.flash_bytes for line in lines), default=0)
        self.latency = max((line.latency_ms for line in lines), default=0.0)
        shown = limit is not None and limit <= REACH * self.peak
        self.limit = limit if shown else None
        self.reach = max(self.peak, self.limit or 0, 1)

    def row(self, line: KernelLine, before: KernelLine | None, name: str) -> str:
        peak = " class='peak'" if line.live_bytes == self.peak else ""
        what = " + ".join([line.kind, *line.fused])
        return (
            f"<tr{peak} title='{escape(_in_words(line, before))}'>"
            f"<td class='text'>{name}</td><td class='text dim'>{escape(what)}</td>"
            f"<td class='text'>{_shapes(line, before)}</td>"
            f"<td class='bar'>{self._memory(line)}</td>"
            f"<td class='bytes'>{size(line.live_bytes)}</td>"
            f"{_taken(line.flash_bytes, self.flash)}<td>{size(line.flash_bytes)}</td>"
            f"{_taken(line.latency_ms, self.latency)}<td>{duration(line.latency_ms)}</td></tr>"
        )

    def _memory(self, line: KernelLine) -> str:
        """Return the buffers side by side, and the budget as a line across."""
        parts = _parts(line)
        bars = "".join(
            f"<i class='{part}' style='width:{_percent(parts[part], self.reach)}'></i>"
            for part, _ in _PARTS
            if parts[part]
        )
        if self.limit is not None:
            bars += f"<i class='limit' style='left:{_percent(self.limit, self.reach)}'></i>"
        return f"<div class='track'>{bars}</div>"


def _parts(line: KernelLine) -> Mapping[str, int]:
    made = line.live.get(line.writes, 0)
    read = sum(line.live.get(name, 0) for name in {*line.reads} - {line.writes})
    return {"writes": made, "reads": read, "waits": line.live_bytes - made - read}


def _taken(value: float, most: float) -> str:
    kind = " most" if value == most and most else ""
    bar = f"<i class='taken' style='width:{_percent(value, most)}'></i>" if value else ""
    return f"<td class='bar less{kind}'><div class='track'>{bar}</div></td>"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.4g}%"


def _shapes(line: KernelLine, before: KernelLine | None) -> str:
    """Return the shape of what is made: channels before and after, and pixels."""
    extent = "".join(f"{_BY}{one}" for one in line.shape[1:])
    now = line.shape[0]
    if before is None or before.shape[0] == now:
        return f"{now}{extent}"
    return f"<span class='dim'>{before.shape[0]} →</span> {now}{extent}"


def _gone(line: KernelLine, name: str) -> str:
    shape = _BY.join(map(str, line.shape))
    return (
        f"<tr class='gone' title='{escape(_in_words(line, None))}'>"
        f"<td class='text dim'>{name}</td><td class='text dim'>{escape(line.kind)}</td>"
        f"<td class='text dim'>{shape} → gone</td>" + "<td></td>" * 6 + "</tr>"
    )


def _legend(limit: int | None) -> str:
    spans = [f"<span><i class='swatch {kind}'></i>{words}</span>" for kind, words in _PARTS]
    spans.append(
        f"<span><i class='swatch' style='background:{_PEAK}'></i>takes most: the bottleneck</span>"
    )
    if limit is not None:
        rule = f"<svg width='6' height='14'><path d='M3 0 V14' stroke='{LIMIT}' {_DASHED}/></svg>"
        spans.append(f"<span>{rule}limit on SRAM: {size(limit)}</span>")
    return f"<div class='legend'>{''.join(spans)}</div>"


def _in_words(line: KernelLine, before: KernelLine | None) -> str:
    buffers = ", ".join(f"{name} {size(held)}" for name, held in line.live.items())
    words = [
        f"{line.name}: {' + '.join([line.kind, *line.fused])}",
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
