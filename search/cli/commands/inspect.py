"""`paring inspect`: what a network costs and why, before any training."""

import json
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from pruning.api.inspection import Inspection, inspection
from pruning.budget import RESOURCES
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose
from search.config.spec import Spec
from search.study.factory import SweepFactory
from tracking.tables import duration, size


@verb("inspect")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    factory = SweepFactory(Spec.from_config(config))
    start = factory.start
    facts = _object(factory, inspection(factory.cost_model(start.graph), start.tensors))
    if output == "json":
        print(json.dumps(facts, indent=1))
    else:
        _print(facts)


def _object(factory: SweepFactory, found: Inspection) -> dict[str, Any]:
    """What was found as JSON values (schema paring.inspect/2)."""
    return {
        "schema": "paring.inspect/2",
        "model": factory.spec["model"]["_target_"],
        "device": found.device.name,
        "source": "estimated",
        **asdict(found.cost),
        "input_bytes": found.input_bytes,
        "parameters": found.parameters,
        "limits": found.device.budget.limits,
        "fits": found.fits,
        "least": asdict(found.least),
        "obstacles": list(found.obstacles),
        "bottleneck": found.bottlenecks,
        "operators": [asdict(line) for line in found.operators],
        "groups": [
            {
                "name": group.name,
                "channels": group.size,
                "prunable": group.prunable,
                "operators": list(group.operators),
            }
            for group in found.groups
        ],
    }


def _print(facts: dict[str, Any]) -> None:
    console = wide_console()
    console.print(_summary(facts))
    console.print(_operators(facts))
    console.print(_groups(facts))
    verdict = "fits" if facts["fits"] else "does NOT fit"
    console.print(f"{facts['model']} {verdict} {facts['device']} as it is, unpruned.")
    for obstacle in facts["obstacles"]:
        console.print(f"No exact int8 form, so scores are simulated: {obstacle}")


SHOW = {"flash_bytes": size, "sram_bytes": size, "latency_ms": duration}


def _summary(facts: dict[str, Any]) -> Table:
    table = Table(title=f"{facts['model']} on {facts['device']} (estimated)")
    for name in ("resource", "unpruned", "device leaves", "least reachable", "bottleneck"):
        table.add_column(name)
    for name in RESOURCES:
        limit = facts["limits"].get(name)
        table.add_row(
            name.rpartition("_")[0],
            SHOW[name](facts[name]),
            SHOW[name](limit) if limit else "no limit",
            SHOW[name](facts["least"][name]),
            facts["bottleneck"][name],
        )
    table.add_row("MACs", f"{facts['macs']:,}", "", f"{facts['least']['macs']:,}", "")
    table.add_row("input", size(facts["input_bytes"]), "", "", "")
    return table


def _operators(facts: dict[str, Any]) -> Table:
    table = Table(title="operators in execution order")
    for name, justify in OPERATOR_COLUMNS:
        table.add_column(name, justify=justify)
    for line in facts["operators"]:
        peak = line["live_bytes"] == facts["sram_bytes"]
        table.add_row(
            line["name"],
            " + ".join([line["kind"], *line["fused"]]),
            "x".join(map(str, line["shape"])),
            f"{line['flash_bytes']:,}",
            f"{line['macs']:,}",
            f"{line['latency_ms']:.3f}",
            f"{line['live_bytes']:,}",
            style="bold" if peak else "",
        )
    return table


OPERATOR_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("operator", "left"),
    ("kind", "left"),
    ("output", "right"),
    ("flash bytes", "right"),
    ("MACs", "right"),
    ("ms", "right"),
    ("live bytes", "right"),
)


def _groups(facts: dict[str, Any]) -> Table:
    table = Table(title="channel groups: channels that are pruned together")
    for name in ("group", "channels", "prunable", "values"):
        table.add_column(name)
    for group in facts["groups"]:
        table.add_row(
            group["name"],
            str(group["channels"]),
            "yes" if group["prunable"] else "no",
            str(len(group["operators"])),
        )
    return table
