"""What MLflow's pages say of a study in words, and where they are."""

from tracking.explanation import EXPLANATION
from tracking.records import SlotRecord, StudyRecord
from tracking.tables import amounts, bounds, count, score_text

_WORKFLOW = "workflowType=machine_learning"


def runs_path(experiment_id: str) -> str:
    """Return where an experiment's runs are in MLflow's pages, relative to the server.

    Without the workflow MLflow opens its pages for language models, which show none of them.
    """
    return f"/#/experiments/{experiment_id}/runs?{_WORKFLOW}"


def front_path(experiment_id: str, run_id: str) -> str:
    """Return where the study's front is in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/front.html?{_WORKFLOW}"


def experiment_note(study: StudyRecord, link: str = "") -> str:
    """Return the text above the study's experiment in MLflow; `link` leads to its front."""
    device = f" Device: **{study.device.name}**." if study.device else ""
    front = f" [See the Pareto front]({link})." if link else ""
    return (
        f"Sweep **{study.name}**: one network pruned under "
        f"{count(len(study.slots), 'budget')}, one run each.{device}{front}\n\n"
        "Open the run `study`, tab *Artifacts*, `front.html` for the "
        f"Pareto front of {study.metric} ({study.precision}) against flash, SRAM and latency; "
        "its metric `hypervolume` shows how the front grew. Costs are estimated by the cost "
        "model. The tag `paring.front` marks the runs on a front.\n\nThis experiment is a "
        "mirror: it can be deleted, and is written again from the study's own database."
    )


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
    if EXPLANATION in slot.files:
        lines.append("Artifact `why.html`: why the network looks as it does.")
    return "\n\n".join(lines)
