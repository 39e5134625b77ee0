"""`paring compare`: the fronts of several sweeps over each other."""

import json
from dataclasses import asdict

from omegaconf import DictConfig, ListConfig
from rich.table import Table

from pruning.export.files import write_own
from search.api.opened import workspace_of
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose, place
from search.config.parse import checked_name
from search.errors import ConfigError, StudyError
from search.results.compare import Side, compare
from search.results.report import study_record
from search.study.study import require_study
from tracking.pages.comparison import comparison_page
from tracking.pages.page import BEGINNING


@verb("compare")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json", "html"))
    if output == "table" and config.out is not None:
        raise ConfigError(f"out={config.out}: output=table writes no file; add output=html")
    out = config.out or ("compare.html" if output == "html" else None)
    path = None if out is None else place(out, config)
    if not isinstance(config.study, ListConfig):
        raise StudyError(f"study={config.study}: name several, such as study=[A,B]")
    workspace = workspace_of(config)
    studies = [require_study(workspace, checked_name(name)) for name in config.study]
    sides = compare(studies)
    if output == "table":
        wide_console().print(_table(sides))
        return
    text = (
        json.dumps([asdict(side) for side in sides], indent=1)
        if output == "json"
        else comparison_page([study_record(study) for study in studies])
    )
    if path is None:
        print(text)
        return
    write_own(path, text, BEGINNING if output == "html" else '[\n {\n  "study": ')
    print(f"written: {path}")


def _table(sides: list[Side]) -> Table:
    table = Table(caption="hypervolume: on the scale of the first study's dense network")
    for name in ("study", "finished", "on its front", "beaten there", "best score"):
        table.add_column(name, justify="left" if name == "study" else "right")
    table.add_column("hypervolume", justify="right")
    table.add_column(f"against {sides[0].study}", justify="right")
    for side in sides:
        table.add_row(
            side.study,
            str(side.finished),
            str(side.front),
            str(side.beaten),
            "" if side.best_score is None else f"{side.best_score:.4f}",
            f"{side.hypervolume:.4f}",
            "" if side is sides[0] else f"{side.hypervolume - sides[0].hypervolume:+.4f}",
        )
    return table
