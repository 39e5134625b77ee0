"""The results as tables and as a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student

from pruning.budget import Budget
from tests.benchmarks.quality.results import Row

Runs = dict[tuple[str, str, int], float]  # by method, budget and seed


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and how far its 95 % interval of Student's t reaches to each side."""

    middle: float
    half: float

    @staticmethod
    def of(values: Sequence[float]) -> "Interval | None":
        """None for fewer than two values."""
        if len(values) < 2:
            return None
        spread = stdev(values) / sqrt(len(values))
        return Interval(mean(values), student.ppf(0.975, len(values) - 1) * spread)

    def __str__(self) -> str:
        low, high = self.middle - self.half, self.middle + self.half
        return f"{100 * self.middle:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def table(rows: Iterable[Row], budgets: Sequence[str], ours: str, split: str) -> str:
    """A Markdown table of mean scores by budget, and the paired differences of ours to each.

    `split` is "validation" or "test". Differences are over budgets and seeds, with the 95 %
    interval of Student's t.
    """
    scores, seconds = _runs(rows, split), _runs(rows, "seconds")
    lines = [
        f"| method | {' | '.join(budgets)} | mean | {ours} is better by | seconds, dense = 1 |",
        "|---|" + "---|" * (len(budgets) + 3),
    ]
    for method in _methods(scores):
        own = {b: [v for (m, at, _), v in scores.items() if (m, at) == (method, b)]
               for b in budgets}  # fmt: skip
        whole = [value for (m, _, _), value in scores.items() if m == method]
        gain = Interval.of(list(gains(scores, ours, method).values())) or ""
        ratios = [
            value / seconds["dense", "dense", s]
            for (m, _, s), value in seconds.items()
            if m == method and ("dense", "dense", s) in seconds
        ]
        cells = [_cell(own[budget]) for budget in budgets]
        ratio = f"{mean(ratios):.2f}" if ratios else ""
        lines.append(
            f"| {method} | {' | '.join(cells)} | {100 * mean(whole):.2f} | {gain} | {ratio} |"
        )
    return "\n".join(lines)


def limits(budgets: Mapping[str, Budget]) -> str:
    """A Markdown table of the budgets."""
    lines = ["| budget | flash B | peak SRAM B | MACs |", "|---" * 4 + "|"]
    for name, budget in budgets.items():
        values = (budget.flash_bytes, budget.sram_bytes, budget.macs)
        cells = ["" if value is None else f"{value:,}" for value in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def details(rows: Sequence[Row]) -> str:
    """A Markdown table of every run: exact costs, the widths in network order, what it took.

    Seconds and peak memory are those of the whole process, beside the dense run's of its seed;
    where there is none they are as measured, in seconds and bytes.
    """
    dense = {row["seed"]: row for row in rows if row["method"] == "dense"}
    head = "method | budget | seed | flash B | SRAM B | MACs | widths | seconds | memory"
    lines = [f"| {head} |", "|---" * 9 + "|"]
    for row in rows:
        cost, widths = row["cost"], "-".join(map(str, row["widths"].values()))
        beside = dense.get(row["seed"])
        took = [f"{row[of] / beside[of]:.2f}" if beside else f"{row[of]:,}" for of in TAKEN]
        lines.append(
            f"| {row['method']} | {row['budget']} | {row['seed']} | {cost['flash_bytes']:,} | "
            f"{cost['sram_bytes']:,} | {cost['macs']:,} | {widths} | {' | '.join(took)} |"
        )
    return "\n".join(lines)


def gains(scores: Runs, ours: str, method: str) -> Runs:
    """By how much ours is better in every pair of runs; nothing against itself."""
    return {
        (m, b, s): scores[ours, b, s] - value
        for (m, b, s), value in scores.items()
        if m == method != ours and (ours, b, s) in scores
    }


def plot(
    parts: Mapping[str, Sequence[Row]],
    budgets: Sequence[str],
    ours: str,
    split: str,
    title: str,
    path: Path,
) -> None:
    """Draw by how much ours is better than each method: mean and interval, and by budget.

    One panel for the rows of each precision.
    """
    panels = {precision: _against(rows, ours, split) for precision, rows in parts.items()}
    heights = [len(against) + 1 for against in panels.values()]
    figure = Figure(figsize=(9, 1.3 + 0.42 * sum(heights)), layout="constrained")
    grid = figure.subplots(
        len(panels), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for (precision, against), axes in zip(panels.items(), grid[:, 0], strict=True):
        for place, found in enumerate(against.values()):
            _draw(axes, place, found, budgets)
        axes.axvline(0, color="#9aa5b1", linewidth=1)
        axes.set_yticks(range(len(against)), list(against))
        axes.set_ylim(len(against) - 0.4, -0.6)
        axes.set_ylabel(f"{precision}, {seeds_of(parts[precision])}")
        axes.spines[["top", "right"]].set_visible(False)
    top, bottom = grid[0, 0], grid[-1, 0]
    drawn = {b for against in panels.values() for found in against.values() for _, b, _ in found}
    for budget, color in zip(budgets, COLORS, strict=False):
        if budget in drawn:
            top.plot([], [], "D", color=color, markersize=5, label=budget)
    top.errorbar([], [], xerr=[], fmt="o", color=INK, capsize=4, label="all, 95 %")
    top.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    top.set_title(fill(title, 64), loc="left", fontsize=11)
    bottom.set_xlabel(f"{ours} is better by (points, {split} split)")
    figure.savefig(path, dpi=110)


def seeds_of(rows: Iterable[Row]) -> str:
    """The seeds that any of the runs has, in words."""
    seeds = sorted({row["seed"] for row in rows})
    return f"seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}"


def _against(rows: Sequence[Row], ours: str, split: str) -> dict[str, Runs]:
    """The gains of ours over every method that has a run beside one of ours."""
    scores = _runs(rows, split)
    against = {method: gains(scores, ours, method) for method in _methods(scores)}
    return {method: found for method, found in against.items() if found}


def _draw(axes: Axes, place: int, found: Runs, budgets: Sequence[str]) -> None:
    whole = Interval.of([100 * gain for gain in found.values()])
    if whole is not None:
        axes.errorbar(
            whole.middle, place, xerr=whole.half, fmt="o", color=INK, capsize=4, markersize=7
        )
        axes.annotate(
            f"{whole.middle:+.1f}", (whole.middle, place), (0, 8),
            textcoords="offset points", ha="center", fontsize=9,
        )  # fmt: skip
    for budget, color in zip(budgets, COLORS, strict=False):
        own = [100 * gain for (_, b, _), gain in found.items() if b == budget]
        if own:
            axes.plot(mean(own), place + 0.2, "D", color=color, markersize=5, alpha=0.85)


TAKEN = ("seconds", "peak_rss_bytes")
INK = "#1f2933"
COLORS = ("#0072b2", "#e69f00", "#d55e00")


def _runs(rows: Iterable[Row], field: str) -> Runs:
    return {(r["method"], r["budget"], r["seed"]): r[field] for r in rows}


def _methods(runs: Runs) -> list[str]:
    return list(dict.fromkeys(method for method, _, _ in runs))


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{spread}" if values else ""
