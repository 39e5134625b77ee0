"""`paring verify`: models as firmware on an emulated core, beside what was estimated."""

import json
import sys
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from pruning.budget import Device
from pruning.deploy.toolchain.runtimes import RUNTIMES, Runtime
from pruning.deploy.toolchain.tflm import RUNTIME_BYTES, Interpreted
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.display import wide_console
from search.cli.options import choose, trial_number
from search.config.devices import device_from
from search.config.registered import registered
from search.config.schema import DeviceConfig
from search.config.validate import validated
from search.errors import ConfigError
from search.results.mlflow_sync import catch_up
from search.results.report import study_record
from search.results.verify import Verified, interpreted, to_verify, verify, workers_for
from search.study.factory import SweepFactory
from search.study.study import Study
from tracking.records import TrialRecord
from tracking.tables import NAMES, duration, size


@verb("verify")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    runtime = registered(config.runtime, RUNTIMES, Runtime, "runtime")
    if not isinstance(config.workers, int) or config.workers < 0:
        raise ConfigError(
            f"workers={config.workers}: write a whole number; 0 takes one model for each core"
        )
    study = study_of(config)
    device = SweepFactory(study.spec).device
    if config.device is not None:
        device = device_from(validated(config.device, DeviceConfig, "device"))
    number = None if config.trial is None else trial_number(config.trial)
    trials = to_verify(study_record(study), number)
    if runtime.gives is Interpreted:
        _interpreted(study, trials, device, runtime, output)
        return
    lines = []
    for line in verify(study, trials, device, workers_for(config.workers), runtime):
        lines.append(line)
        print(f"[{len(lines)}/{len(trials)}] trial {line.trial.number} measured", file=sys.stderr)
    if output == "json":
        print(json.dumps(_object(study, device, lines), indent=1))
    else:
        wide_console().print(_table(study, device, lines, runtime.where))
    if (obstacle := catch_up(study)) is not None:
        print(f"paring: measured, but not written to MLflow: {obstacle}", file=sys.stderr)
    _judge(lines)


def _interpreted(
    study: Study, trials: list[TrialRecord], device: Device, runtime: Runtime, output: str
) -> None:
    """The models in an interpreter: numbers of their own kind."""
    found = []
    for trial, taken in interpreted(study, trials, device, runtime):
        found.append((trial, taken))
        print(f"[{len(found)}/{len(trials)}] trial {trial.number} interpreted", file=sys.stderr)
    if output == "json":
        models = [{"trial": trial.number, **asdict(taken), "flash_bytes": taken.flash_bytes}
                  for trial, taken in found]  # fmt: skip
        whole = {"schema": "paring.verify.tflm/1", "study": study.name, "models": models}
        print(json.dumps(whole, indent=1))
    else:
        wide_console().print(_tflm_table(study, found))
    if wrong := [str(trial.number) for trial, taken in found if taken.mismatches]:
        print(f"paring: results differ from the network's: trials {', '.join(wrong)}",
              file=sys.stderr)  # fmt: skip
        raise SystemExit(1)


def _tflm_table(study: Study, found: list[tuple[TrialRecord, Interpreted]]) -> Table:
    table = Table(
        title=f"{study.name} in TensorFlow Lite for Microcontrollers",
        caption=f"flash: the file and {size(RUNTIME_BYTES)} of interpreter, as linked for a "
        "Cortex-M4; arena: of the interpreter on this machine, a few percent more than there",
    )
    for name in ("trial", "file", "flash", "arena", "results", "wrong"):
        table.add_column(name, justify="right")
    for trial, taken in found:
        table.add_row(
            str(trial.number), size(taken.file_bytes), size(taken.flash_bytes),
            size(taken.arena_bytes), str(taken.results), str(taken.mismatches),
        )  # fmt: skip
    return table


def _object(study: Study, device: Device, lines: list[Verified]) -> dict[str, Any]:
    """The result as JSON values (schema paring.verify/1)."""
    return {
        "schema": "paring.verify/1",
        "study": study.name,
        "device": device.name,
        "core": device.core,
        "models": [
            {
                "trial": line.trial.number,
                "estimated": line.estimated_costs,
                "measured": line.measured_costs
                | {
                    "stack_bytes": line.measured.stack_bytes,
                    "instructions": line.measured.instructions,
                    "by_kernel": dict(line.measured.by_kernel),
                },
                "errors": line.errors,
                "over_budget": line.over,
                "over_device": line.too_big,
                "results": line.measured.results,
                "mismatches": line.measured.mismatches,
            }
            for line in lines
        ],
    }


def _table(study: Study, device: Device, lines: list[Verified], where: str) -> Table:
    table = Table(
        title=f"{study.name} as firmware for {device.name} ({device.core})",
        caption=f"measured on {where}, and by how much the estimate differs; flash "
        "without the kernels, which are the same for every network; "
        "milliseconds are counted instructions at the cycles that the device's config assumes",
    )
    for name in ("trial", "flash", "", "SRAM", "", "stack", "latency", "", "instructions",
                 "results", "wrong", "budget"):  # fmt: skip
        table.add_column(name, justify="right")
    for line in lines:
        errors = {name: f"{error:+.1%}" for name, error in line.errors.items()}
        table.add_row(
            str(line.trial.number),
            size(line.measured.flash_bytes), errors["flash_bytes"],
            size(line.measured.sram_bytes), errors["sram_bytes"],
            size(line.measured.stack_bytes),
            duration(line.measured_costs["latency_ms"]), errors["latency_ms"],
            f"{line.measured.instructions:,}",
            str(line.measured.results), str(line.measured.mismatches),
            _verdict(line),
        )  # fmt: skip
    return table


def _verdict(line: Verified) -> str:
    parts = [
        f"{what}: {', '.join(NAMES[name] for name in names)}"
        for what, names in (("over", line.over), (f"no {line.device.name}", line.too_big))
        if names
    ]
    return "; ".join(parts) or "held"


def _judge(lines: list[Verified]) -> None:
    """Say what is wrong; the exit code is 1 if a result is, or a budget is not held."""
    wrong = [str(line.trial.number) for line in lines if line.measured.mismatches]
    over = [str(line.trial.number) for line in lines if line.over]
    if wrong:
        print(f"paring: results differ from the network's: trials {', '.join(wrong)}",
              file=sys.stderr)  # fmt: skip
    if over:
        print(
            f"paring: measured costs exceed the budget: trials {', '.join(over)}", file=sys.stderr
        )
    too_big = [str(line.trial.number) for line in lines if line.too_big]
    if too_big:
        name = lines[0].device.name
        print(f"paring: too big for {name}: trials {', '.join(too_big)}; pick others: "
              f"paring pick device={name}", file=sys.stderr)  # fmt: skip
    if wrong or over or too_big:
        raise SystemExit(1)
