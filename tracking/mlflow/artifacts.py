"""A run's artifacts: what they are, and how they come to MLflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tracking.errors import DamagedError
from tracking.interface import INTERFACE, interface_from
from tracking.mlflow.client import Client, Entries, Run
from tracking.mlflow.desired import DesiredRun
from tracking.mlflow.logged_model import MODEL_FILES, has_model
from tracking.pages.evaluation import EVALUATION_PAGE, evaluation_page
from tracking.pages.plots import front_page
from tracking.pages.why import FILES, PAGE, why_page
from tracking.records import State, StudyRecord, TrialRecord
from tracking.tables import front_csv, front_object

_ARTIFACTS = "paring.artifacts"  # a digest of what they are made from
_WARNING = "paring.warning"
_INCOMPLETE = " incomplete"


@dataclass(frozen=True, slots=True)
class Artifacts:
    """A run's artifacts: contents by name, and what is missing or could not be made."""

    contents: Mapping[str, bytes]
    missing: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def artifacts_differ(run: Run, desired: DesiredRun) -> bool:
    """Tell whether a run's artifacts are made from something else than they should be."""
    return run.tags.get(_ARTIFACTS, "").removesuffix(_INCOMPLETE) != desired.artifacts


def forget_incomplete(run: Run) -> None:
    """Let artifacts that lacked a blob be tried again, once per process."""
    if run.tags.get(_ARTIFACTS, "").endswith(_INCOMPLETE):
        del run.tags[_ARTIFACTS]


def trial_artifacts(
    study: StudyRecord, trial: TrialRecord, blobs: Mapping[str, bytes]
) -> Artifacts:
    """Return the files of a trial that is over, and the pages that explain its network and show
    its answers. Those that its model holds are not among them. `blobs` holds files by digest.
    """
    if not trial.state.over:
        return Artifacts({})
    contents = {}
    if trial.widths:
        contents["widths.json"] = (json.dumps(dict(trial.widths), indent=1) + "\n").encode()
    files = {name: blobs.get(digest) for name, digest in trial.files.items()}
    stored = {name: content for name, content in files.items() if content is not None}
    missing = [f"{name} ({trial.files[name]})" for name in files if name not in stored]
    errors = []
    if trial.state is State.COMPLETE:
        sources = {name: stored[name] for name in FILES if name in stored}
        try:
            contents[PAGE] = why_page(study, trial, sources).encode()
        except DamagedError as error:
            errors.append(f"no {PAGE}: {error}")
        if trial.evaluations:
            contents[EVALUATION_PAGE] = evaluation_page(study, trial).encode()
        if INTERFACE in stored:
            try:
                interface_from(stored[INTERFACE])
            except DamagedError as error:
                errors.append(f"no signature: {error}")
    elsewhere = MODEL_FILES if has_model(trial) else ()
    contents |= {name: content for name, content in stored.items() if name not in elsewhere}
    return Artifacts(contents, tuple(missing), tuple(errors))


def study_artifacts(study: StudyRecord, runs: Mapping[int, str]) -> Artifacts:
    """Return a study's settings and its front; `runs` gives the ids of the trials' runs."""
    front = json.dumps(front_object(study, runs), indent=1) + "\n"
    texts = {
        "config.yaml": study.config,
        "front.html": front_page(study),
        "front.json": front,
        "front.csv": front_csv(study),
    }
    return Artifacts({name: text.encode() for name, text in texts.items()})


def write_artifacts(client: Client, run: Run, desired: DesiredRun, artifacts: Artifacts) -> Entries:
    """Store a run's artifacts; return the tags that note that they are there.

    Raises:
        ServerError: they cannot be stored, or a name leads out of the artifacts' folder.
    """
    if artifacts.contents:
        client.store(run.artifacts, artifacts.contents)
    missing = ", ".join(artifacts.missing)
    warnings = ([f"not in the store: {missing}"] if missing else []) + [*artifacts.errors]
    tags = {_ARTIFACTS: desired.artifacts + (_INCOMPLETE if missing else "")}
    if warnings or _WARNING in run.tags:
        tags[_WARNING] = "; ".join(warnings)
    return Entries(tags=tags)
