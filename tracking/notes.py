"""What MLflow's pages say of a study in words, and where they are."""

from collections.abc import Mapping
from dataclasses import replace

from tracking.records import Costs, Limits, SlotRecord, State, StudyRecord
from tracking.tables import (
    amounts,
    bounds,
    count,
    duration,
    finished_slots,
    front_slots,
    score_text,
    size,
)

_WORKFLOW = "workflowType=machine_learning"
_ROWS = 12  # of the front's table; MLflow cuts long texts


def runs_path(experiment_id: str) -> str:
    """Return where an experiment's runs are in MLflow's pages, relative to the server.

    Without the workflow MLflow opens its pages for language models, which show none of them.
    """
    return f"/#/experiments/{experiment_id}/runs?{_WORKFLOW}"


def front_path(experiment_id: str, run_id: str) -> str:
    """Return where the study's front is in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/front.html?{_WORKFLOW}"


def run_path(experiment_id: str, run_id: str) -> str:
    """Return where a run is in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{_WORKFLOW}"


def experiment_note(
    study: StudyRecord, front: str = "", paths: Mapping[int, str] | None = None
) -> str:
    """Return the text above the study's experiment in MLflow.

    `front` leads to its front, and `paths` to the runs of its slots, by number.
    """
    device = f" Device: **{study.device.name}**." if study.device else ""
    link = f" [See the Pareto front]({front})." if front else ""
    parts = [
        f"Sweep **{study.name}**: one network pruned under "
        f"{count(len({slot.budget for slot in study.slots}), 'budget')}, in "
        f"{count(len(study.slots), 'run')}.{device}{link}",
        *_device_lines(study, paths or {}),
        *_front_table(study, paths or {}),
        "Open the run `study`, tab *Artifacts*, `front.html` for the "
        f"Pareto front of {study.metric} ({study.precision}) against flash, SRAM and latency; "
        "its metric `hypervolume` shows how the front grew. Costs are estimated by the cost "
        "model. The tag `paring.front` marks the runs on a front.",
        "This experiment is a mirror: it can be deleted, and is written again from the study's "
        "own database.",
    ]
    return "\n\n".join(parts)


def _device_lines(study: StudyRecord, paths: Mapping[int, str]) -> list[str]:
    """Return what the best model is for every device that paring knows, the smallest first."""
    slots = finished_slots(study)
    if not slots:
        return []
    devices = sorted(study.known_devices, key=lambda one: _room(one.limits))
    lines = []
    for device in devices:
        fitting = [
            slot for slot in slots if slot.costs and _has_room(device.limits, slot.costs)
        ]
        best = min(fitting, key=lambda slot: _rank(study, slot), default=None)
        room = bounds(replace(device.limits, latency_ms=None))
        found = (
            "no model fits"
            if best is None
            else f"{study.metric} {score_text(best.score)}, {_linked(best.number, paths)}"
        )
        lines.append(f"- **{device.name}** ({room}): {found}")
    if not lines:
        return []
    return [
        "Best within the flash and SRAM that a device leaves to the network:",
        "\n".join(lines),
    ]


def _front_table(study: StudyRecord, paths: Mapping[int, str]) -> list[str]:
    slots = front_slots(study)
    if not slots:
        return []
    rows = [
        f"| {_linked(slot.number, paths)} | {score_text(slot.score)} | "
        f"{size(slot.costs.flash_bytes)} | {size(slot.costs.sram_bytes)} | "
        f"{duration(slot.costs.latency_ms)} |"
        for slot in slots[:_ROWS]
        if slot.costs is not None
    ]
    head = f"| | {study.metric} | flash | SRAM | latency |\n|---|---|---|---|---|\n"
    rest = f"\n\nand {len(slots) - _ROWS} more" if len(slots) > _ROWS else ""
    return ["The front, the smallest flash first:", head + "\n".join(rows) + rest]


def _linked(number: int, paths: Mapping[int, str]) -> str:
    return f"[slot {number}]({paths[number]})" if number in paths else f"slot {number}"


def _room(limits: Limits) -> tuple[int, int]:
    return limits.flash_bytes or 0, limits.sram_bytes or 0


def _has_room(limits: Limits, costs: Costs) -> bool:
    """Whether flash and SRAM fit: latency was estimated for the study's own device."""
    flash, sram = _room(limits)
    return costs.flash_bytes <= flash and costs.sram_bytes <= sram


def _rank(study: StudyRecord, slot: SlotRecord) -> tuple[float, int, int]:
    """Return what is least for the best score and, of equal ones, the least flash."""
    score = slot.score or 0.0
    flash = slot.costs.flash_bytes if slot.costs else 0
    return -score if study.scores_rise else score, flash, slot.number


def slot_note(study: StudyRecord, slot: SlotRecord) -> str:
    """Return the description of a slot's run."""
    lines = [f"Budget: {bounds(slot.budget)}."]
    if slot.costs is not None and slot.state.over:
        lines.append(f"Costs: {amounts(slot.costs)} (estimated).")
    if slot.score is not None:
        lines.append(f"{study.metric}: {score_text(slot.score)} ({study.precision}).")
    if slot.planes:
        lines.append(f"On the front: {', '.join(slot.planes)}.")
    if slot.copy_of is not None:
        lines.append(f"The same run as slot {slot.copy_of}, whose result it shares.")
    if slot.reason:
        lines.append(slot.reason)
    if slot.state is State.COMPLETE:
        lines.append(
            "Artifact `why.html`: why the network looks as it does, where memory, flash and "
            "time go, and how it was trained."
        )
    return "\n\n".join(lines)
