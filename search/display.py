"""What a person sees in the terminal while a sweep runs, and tables of what came of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.study import Study, slot_budget
from tracking.tables import duration, size

console = Console(stderr=True)


def wide_console() -> Console:
    """Standard output; as wide as tables need when it is not a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=160)


@contextmanager
def progress(study: Study) -> Iterator[Callable[[], None]]:
    """A live picture on stderr; call the function it gives to refresh it.

    Where stderr is no terminal, a line is printed whenever a slot is over.
    """
    if console.is_terminal:
        with Live(picture(study), console=console, refresh_per_second=4) as live:
            yield lambda: live.update(picture(study))
            live.update(picture(study))
        return
    seen: set[int] = set()
    yield lambda: _print_news(study, seen)
    _print_news(study, seen)


def _print_news(study: Study, seen: set[int]) -> None:
    slots = study.slots()
    for trial in slots:
        if trial.state.is_finished() and trial.number not in seen:
            seen.add(trial.number)
            line = f"slot {trial.number} {trial.state.name.lower()}{_result(trial)}"
            console.print(f"[{len(seen)}/{len(slots)}] {line}", markup=False, highlight=False)


def _result(trial: FrozenTrial) -> str:
    result = trial.user_attrs.get("result")
    if result is None:
        return f": {trial.user_attrs.get('reason', '')}"
    cost = result["cost"]
    return (
        f": score {result['score']:.4f}, flash {size(cost['flash_bytes'])}, "
        f"SRAM {size(cost['sram_bytes'])}, {duration(cost['latency_ms'])}"
    )


def picture(study: Study) -> RenderableType:
    """Slots done, what runs now, and the last results."""
    slots = study.slots()
    done = [trial for trial in slots if trial.state.is_finished()]
    running = [trial for trial in slots if trial.state is TrialState.RUNNING]
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, len(slots)), completed=len(done), width=40)
    head.add_row(
        f"study {study.name}",
        bar,
        f"{len(done)} of {len(slots)} slots",
        _remaining(done, slots),
    )
    return Group(head, *_dense_line(study), _running_table(running), _last_table(done))


def _remaining(done: Sequence[FrozenTrial], slots: Sequence[FrozenTrial]) -> str:
    """When the sweep will probably end, from the rate so far."""
    ends = sorted(t.datetime_complete for t in done if t.datetime_complete)
    if len(ends) < 3 or len(ends) == len(slots):
        return ""
    rate = (ends[-1] - ends[0]) / (len(ends) - 1)
    left = timedelta(seconds=round((rate * (len(slots) - len(ends))).total_seconds()))
    return f"about {left} left"


def _dense_line(study: Study) -> list[Text]:
    note, now = study.note("dense"), study.note("dense_progress")
    if note is not None:
        return [Text(f"dense network: score {note['score']:.4f}", style="dim")]
    if now is not None:
        return [
            Text(
                f"dense network: epoch {now['epoch']} of {now['of']}, score {now['score']:.4f}"
            )
        ]
    return [Text("dense network: about to be trained")]


def _running_table(running: Sequence[FrozenTrial]) -> Table:
    table = Table.grid(padding=(0, 2))
    for trial in running:
        now: dict[str, Any] = trial.user_attrs.get("progress") or {}
        table.add_row(
            f"slot {trial.number}",
            f"budget {_budget(trial)}",
            f"epoch {now['epoch']}/{now['of']} {now['phase']}" if now else "starting",
            f"score {now['score']:.4f}" if now else "",
        )
    return table


def _budget(trial: FrozenTrial) -> str:
    budget = slot_budget(trial)
    parts = [
        size(budget.flash_bytes) if budget.flash_bytes else None,
        f"{size(budget.sram_bytes)} SRAM" if budget.sram_bytes else None,
        duration(budget.latency_ms) if budget.latency_ms else None,
    ]
    return " / ".join(part for part in parts if part)


def _last_table(done: Sequence[FrozenTrial]) -> Table:
    table = Table.grid(padding=(0, 2))
    ended = [t for t in done if t.datetime_complete]
    for trial in sorted(ended, key=lambda t: t.datetime_complete or 0)[-5:]:
        style = "dim" if trial.state is TrialState.COMPLETE else "red"
        table.add_row(Text(f"slot {trial.number}{_result(trial)}", style=style))
    return table
