"""`paring calibrate`: a device's file whose latency estimate agrees with measurements."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from rich.table import Table

from pruning.budget import Device
from pruning.deploy.toolchain.runtimes import RUNTIMES, Runtime
from pruning.export.files import write_own
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose, place
from search.config.devices import device_from
from search.config.registered import registered
from search.config.schema import DeviceConfig
from search.config.validate import validated
from search.errors import ConfigError
from search.results.calibrate import (
    Observation,
    Quality,
    StoredGraphs,
    calibrated,
    cycles_of,
    observed,
    read_times,
)
from search.results.verify import workers_for

BEGINNING = "# Latency: "
BOARD, EMULATED = "measured on a board", "instructions counted, cycles assumed"
OTHER = "instructions counted on {where}, cycles assumed"


@verb("calibrate")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    out = place(config.out, config)
    settings = validated(config.device, DeviceConfig, "device")
    if config.name is not None:
        settings.name = str(config.name)
    device = device_from(settings)
    if config.csv is None:
        runtime = registered(config.runtime, RUNTIMES, Runtime, "runtime")
        seen = _counted(config, device, runtime)
        source = EMULATED if runtime == RUNTIMES["c"] else OTHER.format(where=runtime.where)
    else:
        path = Path(str(config.csv))
        if config.study is None:
            raise ConfigError(f"csv={path}: name the study of its trials with study=NAME")
        seen, source = read_times(path, StoredGraphs(study_of(config)), device), BOARD
    found, judged = calibrated(device, seen, board=source == BOARD)
    write_own(out, _text(settings, found, judged, source), BEGINNING)
    if output == "json":
        print(json.dumps(_object(found, judged, seen), indent=1))
    else:
        wide_console().print(_table(found, judged, seen, source))
    print(f"paring: written: {out}", file=sys.stderr)


def _counted(config: DictConfig, device: Device, runtime: Runtime) -> list[Observation]:
    """Random prunings on a core: instructions as cycles of one each."""
    for name, least in (("networks", 2), ("workers", 0), ("seed", 0)):
        if not isinstance(config[name], int) or config[name] < least:
            raise ConfigError(f"{name}={config[name]}: write a whole number of at least {least}")
    seen = []
    workers = workers_for(config.workers)
    for observation in observed(device, config.networks, config.seed, workers, runtime):
        seen.append(observation)
        print(f"[{len(seen)}/{config.networks}] {observation.name} counted", file=sys.stderr)
    return seen


def _text(settings: DeviceConfig, device: Device, judged: Quality, source: str) -> str:
    """The device's file: as it was, with what was found."""
    values: dict[str, Any] = asdict(settings) | {
        "cycles_per_instruction": float(f"{device.cycles_per_instruction:.4g}"),
        "source": source,
        "loops": {kind: [float(f"{rate:.4g}") for rate in rates]
                  for kind, rates in device.loops.items()},
        "latency_margin": ceil(device.latency_margin * 1e3) / 1e3,
    }  # fmt: skip
    which = "held-out" if judged.held_out else "fitted"
    return (
        f"{BEGINNING}{source}. On {judged.networks} {which} networks:\n"
        f"# mean error {judged.mean:.1%}, largest error {judged.worst:.1%}, rank correlation "
        f"{judged.kendall:.3f}.\n"
        f"{yaml.safe_dump(values, sort_keys=False, default_flow_style=None)}"
    )


def _object(device: Device, judged: Quality, seen: Sequence[Observation]) -> dict[str, Any]:
    """The result as JSON values (schema paring.calibrate/1)."""
    return {
        "schema": "paring.calibrate/1",
        "device": device.name,
        "core": device.core,
        "cycles_per_instruction": device.cycles_per_instruction,
        "loops": {kind: list(rates) for kind, rates in device.loops.items()},
        "quality": asdict(judged),
        "networks": [
            {
                "name": observation.name,
                "measured_cycles": observation.total,
                "estimated_cycles": cycles_of(device, observation.graph),
            }
            for observation in seen
        ],
    }


def _table(device: Device, judged: Quality, seen: Sequence[Observation], source: str) -> Table:
    which = "held-out" if judged.held_out else "fitted"
    table = Table(
        title=f"latency of {device.name} ({device.core}): {source}",
        caption=f"{judged.networks} {which} networks: mean error {judged.mean:.1%}, "
        f"largest error {judged.worst:.1%}, at most {judged.margin:.1%} more than estimated; "
        f"Kendall's rank correlation {judged.kendall:.3f}",
    )
    for name in ("network", "cycles", "estimated", "", ""):
        table.add_column(name, justify="left" if name == "network" else "right")
    for index, observation in enumerate(seen):
        estimate = cycles_of(device, observation.graph)
        role = "held out" if judged.held_out and index % 2 else "fitted"
        table.add_row(
            observation.name, f"{observation.total:,.0f}", f"{estimate:,.0f}",
            f"{estimate / observation.total - 1:+.1%}", role,
        )  # fmt: skip
    return table
