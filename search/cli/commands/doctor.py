"""`paring doctor`: checks what a sweep needs; each line says what is wrong and the cure."""

import json
from dataclasses import asdict

from omegaconf import DictConfig
from rich.table import Table

from search.api.doctor import Finding, examined
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose
from search.config.schema import StorageConfig
from search.config.validate import validated


@verb("doctor")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    findings = examined(validated(config.storage, StorageConfig, "storage"))
    if output == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        wide_console().print(_table(findings))
    if not all(finding.good for finding in findings):
        raise SystemExit(2)


def _table(findings: list[Finding]) -> Table:
    table = Table()
    for name in ("check", "", "found", "cure"):
        table.add_column(name)
    for finding in findings:
        mark = "[green]ok[/]" if finding.good else "[red]bad[/]"
        table.add_row(finding.what, mark, finding.found, "" if finding.good else finding.cure)
    return table
