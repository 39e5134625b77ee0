"""Texts of MLflow's pages that describe a study, and the addresses of these pages."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from tracking.mlflow.markdown import plain
from tracking.mlflow.views import KEY
from tracking.pages.evaluation import EVALUATION_PAGE
from tracking.pages.why import PAGE
from tracking.records import PickRecord, State, StudyRecord, TrialRecord
from tracking.tables import (
    amounts,
    bounds,
    count,
    duration,
    finished_trials,
    front_trials,
    score_text,
    size,
)

WORKFLOW = "workflowType=machine_learning"
# Without the workflow MLflow opens its pages for language models, which show none of this.
EXPERIMENTS = f"/#/experiments?{WORKFLOW}"
_ROWS = 8  # of the front's table: MLflow takes 5,000 characters


def runs_path(experiment_id: str) -> str:
    """Return the path of an experiment's runs in MLflow's pages, relative to the server: a table
    of the trials, those on a front first.
    """
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}&{WORKFLOW}"


def charts_of(path: str) -> str:
    """Return the path of the charts of the runs at a path: their fronts."""
    return f"{path}&compareRunsMode=CHART"


def front_path(experiment_id: str, run_id: str) -> str:
    """Return the path of the study's front in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/front.html?{WORKFLOW}"


def run_path(experiment_id: str, run_id: str) -> str:
    """Return the path of a run in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{WORKFLOW}"


def why_path(experiment_id: str, run_id: str) -> str:
    """Return the path of a run's page on its network in MLflow's pages, relative to the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{PAGE}?{WORKFLOW}"


def experiment_note(
    study: StudyRecord,
    experiment_id: str = "",
    runs: Mapping[int, str] | None = None,
    run_id: str = "",
) -> str:
    """Return the text above the study's experiment in MLflow.

    It begins without Markdown, which MLflow's list of experiments would show as it is. With an
    experiment's id it has links to the study's front in the run `run_id`, and to the `runs` of
    its trials, which are by number.
    """
    links = _Links(experiment_id, runs or {})
    device = f", for {plain(study.device.name)}" if study.device else ""
    parts = [
        f"Sweep {plain(study.name)}: one network pruned under "
        f"{count(len({trial.budget for trial in study.trials}), 'budget')}, in "
        f"{count(len(study.trials), 'run')}{device}.",
        _front_line(study, front_path(experiment_id, run_id) if run_id else ""),
        *_pick_lines(study, links),
        *_front_table(study, links),
        "This experiment is a mirror: it can be deleted, and is written again from the study's "
        "own database.",
    ]
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Links:
    """Links to the runs of trials, for those that have one."""

    experiment_id: str
    runs: Mapping[int, str]

    def trial(self, number: int) -> str:
        if number not in self.runs:
            return f"trial {number}"
        return f"[trial {number}]({run_path(self.experiment_id, self.runs[number])})"

    def why(self, number: int) -> str:
        """Return a link to the page on its network, which is among the run's artifacts."""
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


def _pick_lines(study: StudyRecord, links: _Links) -> list[str]:
    """Return what the best model is for every device, the smallest first."""
    scores = {trial.number: trial.score for trial in finished_trials(study)}
    if not scores or not study.picks:
        return []
    lines = []
    for trial, picks in groupby(study.picks, key=lambda pick: pick.trial):
        model = "no model fits"
        if trial is not None:
            score = score_text(scores.get(trial))
            model = f"{plain(study.metric)} {score}, {links.trial(trial)}"
        lines.append(f"- {', '.join(map(_device, picks))}: {model}")
    return [
        "Best within the flash and SRAM that a device leaves to the network:",
        "\n".join(lines),
    ]


def _device(pick: PickRecord) -> str:
    memory = bounds(replace(pick.device.limits, latency_ms=None))
    return f"**{plain(pick.device.name)}** ({memory})"


def _front_table(study: StudyRecord, links: _Links) -> list[str]:
    trials = front_trials(study)
    if not trials:
        return []
    rows = [
        f"| {trial.number} | {score_text(trial.score)} | "
        f"{size(trial.costs.flash_bytes)} | {size(trial.costs.sram_bytes)} | "
        f"{duration(trial.costs.latency_ms)} | {links.why(trial.number)} |"
        for trial in trials[:_ROWS]
        if trial.costs is not None
    ]
    head = f"| trial | {plain(study.metric)} | flash | SRAM | latency | |\n{'|---' * 6}|\n"
    omitted = f"\n\nand {len(trials) - _ROWS} more" if len(trials) > _ROWS else ""
    return ["The front, the smallest flash first:", head + "\n".join(rows) + omitted]


def trial_note(study: StudyRecord, trial: TrialRecord) -> str:
    """Return the description of a trial's run."""
    lines = [f"Budget: {bounds(trial.budget)}."]
    if trial.costs is not None and trial.state.over:
        lines.append(f"Costs: {amounts(trial.costs)} (estimated).")
    if trial.score is not None:
        score = f"{score_text(trial.score)} ({plain(study.precision)})"
        lines.append(f"{plain(study.metric)}: {score}.")
    if trial.planes:
        lines.append(f"On the front: {', '.join(trial.planes)}.")
    if trial.copy_of is not None:
        lines.append(f"The same run as trial {trial.copy_of}, whose result it shares.")
    if trial.reason:
        lines.append(plain(trial.reason))
    if trial.state is State.COMPLETE:
        lines.append(
            f"Artifact {PAGE}: why the network looks as it does, where memory, flash and time "
            "go, and how it was trained."
        )
    if trial.evaluations:
        splits = " and ".join(trial.evaluations)
        lines.append(
            f"Artifact {EVALUATION_PAGE}: what the network answers on {splits}, and its worst "
            "mistakes."
        )
    return "\n\n".join(lines)
