"""What a person sees while a sweep runs, in a terminal or a notebook."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pruning.budget import Budget
from search.results.status import StudyStatus, study_status
from search.storage.outage import tolerated
from search.storage.trial_record import TrialNotes, result_of
from search.study.command import Command
from search.study.study import Study
from search.study.study_record import dense_of
from search.study.variants import facts_of
from tracking.tables import duration, size

console = Console(stderr=True)


@contextmanager
def progress(study: Study) -> Iterator[Callable[[], None]]:
    """A live picture on stderr; call the function it gives to refresh it.

    Where stderr is no terminal, a line is printed whenever a trial is over.
    """
    if console.is_terminal:
        with Live(picture(study), console=console, refresh_per_second=4) as live:
            yield _unless_out_of_reach(lambda: live.update(picture(study)))
            live.update(picture(study))
        return
    seen: set[int] = set()
    yield _unless_out_of_reach(lambda: _print_news(study, seen))
    _print_news(study, seen)


def _unless_out_of_reach(show: Callable[[], None]) -> Callable[[], None]:
    """An outage of the database stops the display, and nothing else."""

    def shown() -> None:
        with tolerated("the display waits"):
            show()

    return shown


def _print_news(study: Study, seen: set[int]) -> None:
    trials = study.trials()
    for trial in trials:
        if trial.state.is_finished() and trial.number not in seen:
            seen.add(trial.number)
            line = f"trial {trial.number} {trial.state.name.lower()}{_result(study, trial)}"
            head = f"[{len(seen)}/{len(trials)}]"
            console.print(head, line, markup=False, highlight=False, soft_wrap=True)


def _result(study: Study, trial: FrozenTrial) -> str:
    name = facts_of(study, trial.params).name if trial.params else ""
    result, variant = result_of(trial), name and f" ({name})"
    if result is None:
        return f"{variant}: {TrialNotes.of(trial).reason}"
    cost = result.cost
    return (
        f"{variant}: score {result.score:.4f}, flash {size(cost.flash_bytes)}, "
        f"SRAM {size(cost.sram_bytes)}, {duration(cost.latency_ms)}"
    )


def picture(study: Study) -> RenderableType:
    """How a sweep stands: trials done, who works on what, and the last results."""
    now, trials = study_status(study), study.trials()
    done = [trial for trial in trials if trial.state.is_finished()]
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, len(trials)), completed=len(done), width=40)
    head.add_row(f"study {study.name}", bar, f"{len(done)} of {len(trials)} trials", _pace(now))
    parts: list[RenderableType] = [head, *_command_line(now), *_dense_line(study)]
    parts += [_workers_table(now), _last_table(study, done), *_failure_lines(now)]
    return Group(*parts)


def _pace(now: StudyStatus) -> str:
    parts = [f"hypervolume {now.hypervolume:.4f}"] if now.hypervolume else []
    if now.trials_per_hour is not None:
        parts.append(f"{now.trials_per_hour:.3g} trials an hour")
    if now.left_s is not None:
        end = datetime.now() + timedelta(seconds=now.left_s)
        left = timedelta(seconds=round(now.left_s))
        parts.append(f"about {left} left, until {end:%a %H:%M}")
    return ", ".join(parts)


def _command_line(now: StudyStatus) -> list[Text]:
    if now.command is Command.GO:
        return []
    cure = {
        Command.PAUSE: f"paring resume study={now.study}",
        Command.HALT: f"fix the cause, then paring sweep study={now.study}",
        Command.CANCEL: f"add trials with paring sweep study={now.study} trials=...",
    }
    return [Text(f"{now.command}: {now.why}; {cure[now.command]}", style="yellow")]


def _dense_line(study: Study) -> list[Text]:
    notes, lines = study.notes(), []
    for facts in study.facts.all_variants:
        name = f"dense network {facts.name}".strip()
        key = facts.dense_key or ""
        if (note := dense_of(notes.dense, facts)) is not None:
            lines.append(Text(f"{name}: score {note.score:.4f}", style="dim"))
        elif (last := notes.dense_progress.get(key)) is not None:
            text = f"{name}: epoch {last.epoch} of {last.of}, score {last.score:.4f}"
            lines.append(Text(text))
    return lines or [Text("dense network: not trained yet")]


def _workers_table(now: StudyStatus) -> RenderableType:
    if not now.workers:
        return Text("no worker is running a trial", style="dim")
    table = Table(box=None, header_style="dim", padding=(0, 1))
    for name in ("worker", "trial", "budget", "epoch", "score", "cost / budget", "last report"):
        table.add_column(name)
    for worker in now.workers:
        again = f" (attempt {worker.attempt})" if worker.attempt > 1 else ""
        table.add_row(
            f"{worker.host}:{worker.pid}",
            f"{worker.trial}{again}",
            _limits(worker.budget),
            f"{worker.epoch}/{worker.of} {worker.phase}" if worker.epoch else "starting",
            "" if worker.score is None else f"{worker.score:.4f}",
            _shares(worker.shares or {}),
            "" if worker.silent_s is None else f"{worker.silent_s:.0f} s ago",
        )
    return table


def _shares(shares: Mapping[str, float]) -> str:
    return "  ".join(f"{name.partition('_')[0]} {share:.0%}" for name, share in shares.items())


def _failure_lines(now: StudyStatus) -> list[Text]:
    counted = "  ".join(f"{state} {count}" for state, count in now.trials.items() if count)
    return [
        Text(counted, style="dim"),
        *(Text(f"trial {number}: {why}", style="red") for number, why in now.failures.items()),
    ]


def _limits(budget: Budget) -> str:
    parts = [
        size(budget.flash_bytes) if budget.flash_bytes else None,
        f"{size(budget.sram_bytes)} SRAM" if budget.sram_bytes else None,
        duration(budget.latency_ms) if budget.latency_ms else None,
    ]
    return " / ".join(part for part in parts if part)


def _last_table(study: Study, done: Sequence[FrozenTrial]) -> Table:
    table = Table.grid(padding=(0, 2))
    ended = [t for t in done if t.datetime_complete]
    for trial in sorted(ended, key=lambda t: t.datetime_complete or 0)[-5:]:
        style = "dim" if trial.state is TrialState.COMPLETE else "red"
        table.add_row(Text(f"trial {trial.number}{_result(study, trial)}", style=style))
    return table
