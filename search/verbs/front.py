"""`paring front`: the Pareto front as a table, JSON, CSV or a page that opens offline."""

import json
from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table

from search.config import StorageConfig, checked_name, cross, inside
from search.display import wide_console
from search.errors import ConfigError
from search.files import write_whole
from search.home import open_home
from search.report import MEASURED, measured_record, run_ids, study_record
from search.study import require_study
from search.verb import verb
from search.verbs.choices import choose
from tracking.plots import front_page
from tracking.records import Costs, StudyRecord
from tracking.seeds import repeats_of
from tracking.tables import (
    duration,
    front_csv,
    front_object,
    front_slots,
    measured_text,
    repeats_text,
    score_text,
    size,
)

OUTPUTS = ("table", "json", "csv", "html")
SOURCES = ("estimated", MEASURED)


@verb("front")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", OUTPUTS)
    if output == "table" and config.out is not None:
        raise ConfigError(f"out={config.out}: output=table is only shown; add output=html")
    measured = choose(config.source, "source", SOURCES) == MEASURED
    if measured and output == "json":
        raise ConfigError("source=measured: output=json has the numbers of all sources")
    name = checked_name(config.study)
    home = open_home(cross(config.storage, StorageConfig, "storage"), create=False)
    study = require_study(home, name)
    record = measured_record(study) if measured else study_record(study)
    if output == "table":
        print_table(record)
        return
    text = {
        "json": lambda: json.dumps(front_object(record, run_ids(study)), indent=1),
        "csv": lambda: front_csv(record),
        "html": lambda: front_page(record),
    }[output]()
    out = config.out or ("front.html" if output == "html" else None)
    if out is None:
        print(text.rstrip("\n"))
        return
    path = inside(Path.cwd(), out, "out")
    write_whole(path, text.encode())
    print(f"written: {path}")


CAPTIONS = {
    "estimated": "estimated by the cost model",
    MEASURED: "measured as linked, without the kernels that all networks share; latency by "
    "instructions counted on an emulated core",
}


def print_table(record: StudyRecord) -> None:
    """The front for people, largest flash first."""
    table = Table(title=_title(record), caption=f"costs: {CAPTIONS[record.source]}")
    repeated, slots = repeats_of(record), front_slots(record)
    seeds = ("over seeds",) if repeated else ()
    beside = any(slot.measured for slot in slots) and record.source != MEASURED
    measured = (MEASURED,) if beside else ()
    for name in ("trial", record.metric, *seeds, "test", "flash", "SRAM", "latency",
                 *measured, "budget flash", "planes"):  # fmt: skip
        table.add_column(name, justify="right" if name != "planes" else "left")
    if record.dense is not None:
        costs = record.dense.costs
        score = f"{record.dense.score:.4f}"
        table.add_row("dense", score, *("" for _ in seeds), "", *_used(costs), style="dim")
    for slot in reversed(slots):
        table.add_row(
            str(slot.number),
            score_text(slot.score),
            *(repeats_text(repeated.get(slot.number)) for _ in seeds),
            "" if slot.test_score is None else score_text(slot.test_score),
            *_used(slot.known_costs),
            *(measured_text(slot) for _ in measured),
            size(slot.budget.flash_bytes),
            ", ".join(plane.partition("_")[0] for plane in slot.planes),
        )
    wide_console().print(table)


def _used(costs: Costs) -> tuple[str, ...]:
    return size(costs.flash_bytes), size(costs.sram_bytes), duration(costs.latency_ms)


def _title(record: StudyRecord) -> str:
    volume = record.hypervolumes[-1] if record.hypervolumes else 0.0
    done = sum(slot.state.over for slot in record.slots)
    return (
        f"{record.name}: {done} of {len(record.slots)} slots over, hypervolume {volume:.4f}, "
        f"{record.metric} of {record.precision} networks"
    )
