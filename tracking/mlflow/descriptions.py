"""What MLflow's pages say of a study in words, and where they are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from tracking.mlflow.markdown import plain
from tracking.pages.why import PAGE
from tracking.records import PickRecord, SlotRecord, State, StudyRecord
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
# Without the workflow MLflow opens its pages for language models, which show none of this.
EXPERIMENTS = f"/#/experiments?{_WORKFLOW}"
_ROWS = 8  # of the front's table: MLflow takes 5,000 characters


def runs_path(experiment_id: str) -> str:
    """Return where an experiment's runs are in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs?{_WORKFLOW}"


def front_path(experiment_id: str, run_id: str) -> str:
    """Return where the study's front is in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/front.html?{_WORKFLOW}"


def run_path(experiment_id: str, run_id: str) -> str:
    """Return where a run is in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{_WORKFLOW}"


def why_path(experiment_id: str, run_id: str) -> str:
    """Return where a run's page on its network is in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{PAGE}?{_WORKFLOW}"


def experiment_note(
    study: StudyRecord,
    experiment_id: str = "",
    runs: Mapping[int, str] | None = None,
    run_id: str = "",
) -> str:
    """Return the text above the study's experiment in MLflow.

    It begins without marks: MLflow's list of experiments shows them raw. With an experiment's
    id it leads to the study's front in `run_id`, and to the `runs` of its slots, by number.
    """
    linked = _Linked(experiment_id, runs or {})
    device = f", for {plain(study.device.name)}" if study.device else ""
    parts = [
        f"Sweep {plain(study.name)}: one network pruned under "
        f"{count(len({slot.budget for slot in study.slots}), 'budget')}, in "
        f"{count(len(study.slots), 'run')}{device}.",
        _front_line(study, front_path(experiment_id, run_id) if run_id else ""),
        *_pick_lines(study, linked),
        *_front_table(study, linked),
        "This experiment is a mirror: it can be deleted, and is written again from the study's "
        "own database.",
    ]
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Linked:
    """Links to the runs of slots, for those that have one."""

    experiment_id: str
    runs: Mapping[int, str]

    def slot(self, number: int) -> str:
        if number not in self.runs:
            return f"slot {number}"
        return f"[slot {number}]({run_path(self.experiment_id, self.runs[number])})"

    def why(self, number: int) -> str:
        """Return a link to the page on its network, beside which all else of the run is."""
        if number not in self.runs:
            return ""
        return f"[why]({why_path(self.experiment_id, self.runs[number])})"


def _front_line(study: StudyRecord, path: str) -> str:
    front = f"[The Pareto front]({path})" if path else "The Pareto front"
    return (
        f"{front} of {plain(study.metric)} ({plain(study.precision)}) against flash, SRAM and "
        "latency is the artifact `front.html` of the run `study`, whose metric `hypervolume` "
        "shows how it grew. Costs are estimated by the cost model. The tag `paring.front` "
        "marks the runs on a front."
    )


def _pick_lines(study: StudyRecord, linked: _Linked) -> list[str]:
    """Return what the best model is for every device, the smallest first."""
    scores = {slot.number: slot.score for slot in finished_slots(study)}
    if not scores or not study.picks:
        return []
    lines = []
    for slot, picks in groupby(study.picks, key=lambda pick: pick.slot):
        found = "no model fits"
        if slot is not None:
            score = score_text(scores.get(slot))
            found = f"{plain(study.metric)} {score}, {linked.slot(slot)}"
        lines.append(f"- {', '.join(map(_room, picks))}: {found}")
    return [
        "Best within the flash and SRAM that a device leaves to the network:",
        "\n".join(lines),
    ]


def _room(pick: PickRecord) -> str:
    room = bounds(replace(pick.device.limits, latency_ms=None))
    return f"**{plain(pick.device.name)}** ({room})"


def _front_table(study: StudyRecord, linked: _Linked) -> list[str]:
    slots = front_slots(study)
    if not slots:
        return []
    rows = [
        f"| {slot.number} | {score_text(slot.score)} | "
        f"{size(slot.costs.flash_bytes)} | {size(slot.costs.sram_bytes)} | "
        f"{duration(slot.costs.latency_ms)} | {linked.why(slot.number)} |"
        for slot in slots[:_ROWS]
        if slot.costs is not None
    ]
    head = f"| slot | {plain(study.metric)} | flash | SRAM | latency | |\n{'|---' * 6}|\n"
    rest = f"\n\nand {len(slots) - _ROWS} more" if len(slots) > _ROWS else ""
    return ["The front, the smallest flash first:", head + "\n".join(rows) + rest]


def slot_note(study: StudyRecord, slot: SlotRecord) -> str:
    """Return the description of a slot's run."""
    lines = [f"Budget: {bounds(slot.budget)}."]
    if slot.costs is not None and slot.state.over:
        lines.append(f"Costs: {amounts(slot.costs)} (estimated).")
    if slot.score is not None:
        score = f"{score_text(slot.score)} ({plain(study.precision)})"
        lines.append(f"{plain(study.metric)}: {score}.")
    if slot.planes:
        lines.append(f"On the front: {', '.join(slot.planes)}.")
    if slot.copy_of is not None:
        lines.append(f"The same run as slot {slot.copy_of}, whose result it shares.")
    if slot.reason:
        lines.append(plain(slot.reason))
    if slot.state is State.COMPLETE:
        lines.append(
            f"Artifact {PAGE}: why the network looks as it does, where memory, flash and time "
            "go, and how it was trained."
        )
    return "\n\n".join(lines)
