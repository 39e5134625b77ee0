"""Estimates beside measurements, on networks that nothing was fitted to (make bench-estimates).

Random prunings of the zoo and of mixed networks are linked and run on emulated cores; flash,
static memory and instructions are compared with what the cost model says of them. Two networks
of MLPerf Tiny are measured as they are. `make pictures` draws the results.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from pruning import models
from pruning.budget import Device
from pruning.catalogue.devices import devices
from pruning.cost.model import deployed
from pruning.deploy import IntegerNetwork, calibrate, lower, plan
from pruning.deploy.toolchain.build import build_firmware
from pruning.deploy.toolchain.measure import Measured, measure
from pruning.frontend.trace import trace
from search.results.calibrate import Subject, counted, quality, subjects
from tracking.tables import size

RESULTS = Path(__file__).parent / "results"
SEED = 7  # not that of the networks which the shipped numbers were fitted to
DEVICES = ("stm32f103", "stm32f446", "stm32f746")  # a Cortex-M3, M4 and M7
COLORS = {"cortex-m3": "#d55e00", "cortex-m4": "#0072b2", "cortex-m7": "#009e73"}
KINDS = {
    "flash_bytes": ("flash", "KiB", 1024),
    "sram_bytes": ("static RAM", "KiB", 1024),
    "instructions": ("instructions", "million", 1e6),
}
Row = Mapping[str, Any]


def main() -> None:
    """Measure, store, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-run", action="store_true", help="do not measure the prunings again")
    options = parser.parse_args()
    file = RESULTS / "estimates.json"
    if not options.no_run:
        chosen = list(subjects(options.networks, SEED))
        chips = [device for device in devices() if device.name in DEVICES]
        rows = [row for device in chips for row in _rows(chosen, device, options.workers)]
        file.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    rows = json.loads(file.read_text())
    print(table(rows))
    print(f"\n{whole_table()}\n\n{widths_table()}")


def _rows(chosen: Sequence[Subject], device: Device, workers: int) -> Iterator[Row]:
    for subject, measured in zip(chosen, counted(chosen, device.core, workers), strict=True):
        cost = deployed(subject.graph, device).dense
        instructions = cost.latency_ms / device.milliseconds(1.0)
        print(f"{device.core} {subject.name}", flush=True)
        yield {
            "core": device.core,
            "network": subject.name,
            "mismatches": measured.mismatches,
            "arena_bytes": plan(subject.network).arena_bytes,
            "estimated": {
                "flash_bytes": cost.flash_bytes,
                "sram_bytes": cost.sram_bytes,
                "instructions": round(instructions),
            },
            "measured": {
                kind: asdict(measured)[kind]
                for kind in ("flash_bytes", "sram_bytes", "instructions")
            },
        }


def table(rows: Sequence[Row]) -> str:
    """A Markdown table: by core and kind, mean and largest error, and rank correlation."""
    lines = [
        "| core | networks | wrong results | | mean error | worst | most beyond | tau |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for core in dict.fromkeys(row["core"] for row in rows):
        own = [row for row in rows if row["core"] == core]
        for kind, (name, _, _) in KINDS.items():
            found = quality(*_pairs(own, kind), held_out=True)
            wrong = sum(row["mismatches"] for row in own)
            lines.append(
                f"| {core} | {len(own)} | {wrong} | {name} | {found.mean:.2%} | "
                f"{found.worst:.2%} | {found.margin:.2%} | {found.kendall:.3f} |"
            )
    return "\n".join(lines)


WHOLE: Mapping[str, tuple[Callable[[int], nn.Module], int, tuple[int, ...]]] = {
    "ResNet-8": (lambda filters: models.resnet8(filters=filters), 16, (3, 32, 32)),
    "DS-CNN": (lambda filters: models.ds_cnn(filters=filters), 64, (1, 49, 10)),
}


def whole_table() -> str:
    """A Markdown table of ResNet-8 and DS-CNN, unpruned, on a Cortex-M4 and an M3."""
    lines = [
        "| network | core | instructions | estimate | flash | kernels | static RAM | stack |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (_, filters, _) in WHOLE.items():
        for core in ("cortex-m4", "cortex-m3"):
            made = _made(name, filters, core)
            taken, linked = made.taken, build_firmware(made.network, core)
            lines.append(
                f"| {name} | {core} | {taken.instructions / 1e6:.2f} M | "
                f"{made.estimate / 1e6:.2f} M | {size(taken.flash_bytes)} | "
                f"{size(linked.runtime_bytes)} | {size(taken.sram_bytes)} | "
                f"{taken.stack_bytes} B |"
            )
    return "\n".join(lines)


def widths_table() -> str:
    """A Markdown table of instructions by the number of filters, on a Cortex-M4."""
    lines = ["| network | filters | instructions | a MAC | estimate |", "|---|---|---|---|---|"]
    for name, few in (("ResNet-8", 8), ("DS-CNN", 24)):
        for filters in range(few, few + 9):
            made = _made(name, filters, "cortex-m4")
            count = made.taken.instructions
            lines.append(
                f"| {name} | {filters} | {count / 1e6:.2f} M | {count / made.macs:.2f} | "
                f"{made.estimate / count - 1:+.1%} |"
            )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Made:
    """An unpruned network, its estimated instructions, and what it takes."""

    network: IntegerNetwork
    macs: int
    estimate: float
    taken: Measured


def _made(name: str, filters: int, core: str) -> Made:
    make, _, shape = WHOLE[name]
    torch.manual_seed(0)
    model = make(filters)
    graph, tensors = trace(model, torch.zeros(shape)), dict(model.state_dict())
    network = lower(graph, tensors, calibrate(graph, tensors, torch.randn(8, *shape)))
    taken = measure(network, core, network.quantized(torch.randn(2, *shape).numpy()))
    assert taken.mismatches == 0
    (device,) = (d for d in devices() if d.name in DEVICES and d.core == core)
    cost = deployed(graph, device).dense
    return Made(network, cost.macs, cost.latency_ms / device.milliseconds(1.0), taken)


def _pairs(rows: Sequence[Row], kind: str) -> tuple[list[float], list[float]]:
    return [row["estimated"][kind] for row in rows], [row["measured"][kind] for row in rows]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Estimate against measurement, and by how much they differ, for every kind."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    grid = figure.subplots(2, len(KINDS), sharex="col", height_ratios=(3, 1.4))
    for column, (kind, (name, unit, scale)) in enumerate(KINDS.items()):
        above, below = grid[0, column], grid[1, column]
        for core in dict.fromkeys(row["core"] for row in rows):
            pairs = _pairs([row for row in rows if row["core"] == core], kind)
            estimated, measured = (np.array(values) / scale for values in pairs)
            style = {"color": COLORS[core], "markersize": 4, "alpha": 0.75, "label": core}
            above.plot(measured, estimated, "o", **style)
            below.plot(measured, 100 * (estimated / measured - 1), "o", **style)
        _frame(above, below, name, unit)
    grid[0, 0].legend(frameon=False)
    figure.suptitle(
        "Estimated against measured: random prunings that nothing was fitted to",
        x=0.01, ha="left", fontsize=12,
    )  # fmt: skip
    figure.savefig(path, dpi=110)


def _frame(above: Axes, below: Axes, name: str, unit: str) -> None:
    above.set_xscale("log")
    above.set_yscale("log")
    ends = above.get_xlim()
    above.plot(ends, ends, color="#9aa5b1", linewidth=1, zorder=0)
    above.set_xlim(ends)
    above.set_title(name)
    above.set_ylabel(f"estimated ({unit})")
    below.axhline(0, color="#9aa5b1", linewidth=1, zorder=0)
    below.set_ylim(-11, 11)
    below.set_xlabel(f"measured ({unit})")
    below.set_ylabel("error (%)")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
