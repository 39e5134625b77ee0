"""`paring front`: the Pareto front as a table, JSON, CSV or a page that opens offline."""

import json
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table

from pruning.export.files import write_own
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose, place
from search.errors import ConfigError
from search.results.choices import with_choices
from search.results.report import MEASURED, measured_record, run_ids, study_record
from search.study.study import Study
from tracking.pages.evaluation import EVALUATION_PAGE
from tracking.pages.page import BEGINNING
from tracking.pages.picked import page_folder
from tracking.pages.plots import front_page
from tracking.pages.why import PAGE
from tracking.records import Costs, StudyRecord
from tracking.seeds import repeats_of
from tracking.tables import (
    duration,
    front_csv,
    front_object,
    front_trials,
    measured_text,
    repeats_text,
    score_text,
    size,
)

OUTPUTS = ("table", "json", "csv", "html")
BEGINNINGS = {"html": BEGINNING, "json": '{\n "schema": "paring.front/', "csv": "trial,score,"}
SOURCES = ("estimated", MEASURED)


@verb("front")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", OUTPUTS)
    if output == "table" and config.out is not None:
        raise ConfigError(f"out={config.out}: output=table writes no file; add output=html")
    measured = choose(config.source, "source", SOURCES) == MEASURED
    if measured and output == "json":
        raise ConfigError("source=measured: output=json always has all sources; leave source out")
    out = config.out or ("front.html" if output == "html" else None)
    path = None if out is None else place(out, config)
    study = study_of(config)
    record = measured_record(study) if measured else study_record(study)
    if output == "table":
        print_table(record)
        return
    text = {
        "json": lambda: json.dumps(front_object(record, run_ids(study)), indent=1),
        "csv": lambda: front_csv(record),
        "html": lambda: front_page(
            _with_choices(study, record),
            _pages(record, path, PAGE),
            _pages(record, path, EVALUATION_PAGE),
        ),
    }[output]()
    if path is None:
        print(text.rstrip("\n"))
        return
    write_own(path, text, BEGINNINGS[output])
    print(f"written: {path}")


def _with_choices(study: Study, record: StudyRecord) -> StudyRecord:
    """A record, measured or not, with what `paring pick` chooses from, by estimates."""
    estimated = record if record.source != MEASURED else study_record(study)
    return replace(record, choices=with_choices(study, estimated).choices)


def _pages(record: StudyRecord, front: Path | None, page: str) -> dict[int, str]:
    """Where a page of trials is that were exported beside the front, by number."""
    if front is None:
        return {}
    numbers = (trial.number for trial in record.trials)
    return {
        number: f"{page_folder(number)}/{page}"
        for number in numbers
        if _is_of(record.name, number, front.parent / page_folder(number), page)
    }


def _is_of(study: str, number: int, folder: Path, page: str) -> bool:
    """Whether a folder holds an export of a trial, with a page."""
    try:
        told = json.loads((folder / "model.json").read_text("utf-8"))
        return (told["study"], told["trial"]) == (study, number) and (folder / page).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False


CAPTIONS = {
    "estimated": "estimated by the cost model",
    MEASURED: "measured as linked, without the kernels that all networks share; latency by "
    "instructions counted on an emulated core",
}


def print_table(record: StudyRecord) -> None:
    """The front for people, largest flash first."""
    table = Table(title=_title(record), caption=f"costs: {CAPTIONS[record.source]}")
    repeated, trials = repeats_of(record), front_trials(record)
    seeds = ("over seeds",) if repeated else ()
    choice = ("choice",) if any(trial.variant for trial in trials) else ()
    beside = any(trial.measured for trial in trials) and record.source != MEASURED
    measured = (MEASURED,) if beside else ()
    for name in ("trial", record.metric, *seeds, "test", "flash", "SRAM", "latency",
                 *measured, "budget flash", *choice, "planes"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("choice", "planes") else "right")
    for dense in record.dense:
        cells = (f"{dense.score:.4f}", *("" for _ in seeds), "", *_used(dense.costs))
        empty = ("" for _ in (*measured, "budget flash"))
        table.add_row("dense", *cells, *empty, *(dense.name for _ in choice), style="dim")
    for trial in reversed(trials):
        table.add_row(
            str(trial.number),
            score_text(trial.score),
            *(repeats_text(repeated.get(trial.number)) for _ in seeds),
            "" if trial.test_score is None else score_text(trial.test_score),
            *_used(trial.known_costs),
            *(measured_text(trial) for _ in measured),
            size(trial.budget.flash_bytes),
            *(trial.variant for _ in choice),
            ", ".join(plane.partition("_")[0] for plane in trial.planes),
        )
    wide_console().print(table)


def _used(costs: Costs) -> tuple[str, ...]:
    return size(costs.flash_bytes), size(costs.sram_bytes), duration(costs.latency_ms)


def _title(record: StudyRecord) -> str:
    volume = record.hypervolumes[-1] if record.hypervolumes else 0.0
    done = sum(trial.state.over for trial in record.trials)
    return (
        f"{record.name}: {done} of {len(record.trials)} trials over, hypervolume {volume:.4f}, "
        f"{record.metric} of {record.precision} networks"
    )
