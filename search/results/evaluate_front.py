"""The networks of a front on the validation and the test split: scored and evaluated, once."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from pruning.data import Dataset, Split
from pruning.errors import CheckpointError
from pruning.export.files import digest_of
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import StoredNetwork, unpack_network
from pruning.training.job import Job
from pruning.training.train import answers_to
from search.errors import StoreError, StudyError
from search.results.evaluate import evaluated
from search.results.front import front_trials
from search.storage.trial_record import result_of
from search.study.study import Study
from search.study.trials import BLOBS
from search.study.variants import Variants
from tracking.evaluation import TEST, VALIDATION, Evaluation
from tracking.evaluation_file import evaluations_to_json
from tracking.records import TrialRecord

log = logging.getLogger("paring.evaluation")


@dataclass(slots=True)
class _Evaluated:
    """What was found out about one network: its evaluations and scores, by split."""

    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def evaluate_front(study: Study, variants: Variants) -> Iterator[int]:
    """Evaluate those trials of a finished front that have not been, one by one; their numbers
    come before their work. Hold the lock of `lock_of` meanwhile.

    The test split has no other use, and a network is scored on it once: of a trial that has a
    test score but no evaluation, as an earlier version left it, only validation is evaluated.
    """
    for trial in front_trials(study):
        notes, result = study.notes(), result_of(trial)
        scored = trial.number in notes.test_scores
        if result is None or (scored and trial.number in notes.evaluations):
            continue
        yield trial.number
        try:
            network = unpack_network(study.workspace.store.read(result.files[MODEL]))
        except (StoreError, CheckpointError) as error:
            log.warning("trial %d: no test score: %s", trial.number, error)
            continue
        # Validation first: what it chooses is judged on test.
        splits = (VALIDATION,) if scored else (VALIDATION, TEST)
        job = variants.of(trial.params).factory.dense_job()
        _keep(study, trial.number, _evaluated(network, job, splits))


def evaluate_trial(study: Study, trial: TrialRecord) -> Evaluation:
    """The evaluation of any network of a study on validation, which is not stored.

    Args:
        study: whose network it is.
        trial: a finished one.

    Raises:
        StudyError: the data are not those of the study, or answers have no meaning that is known.
            StoreError, CheckpointError: the network is missing or damaged.
    """
    job = Variants(study).of(trial.params).factory.dense_job()
    network = unpack_network(study.workspace.store.read(trial.files[MODEL]))
    told = _evaluated(network, job, (VALIDATION,))
    if VALIDATION not in told.evaluations:
        raise StudyError(
            f"study={study.name}: this network gives fewer outputs than there are classes, or "
            "numbers that are not finite, so its answers cannot be judged; give the model an "
            "output for every class (model.classes=auto)"
        )
    return told.evaluations[VALIDATION]


def lock_of(study: Study) -> str:
    """The name of the workspace's lock under which a study's front is evaluated."""
    return f"test-{study.key}"


def _evaluated(network: StoredNetwork, job: Job, splits: tuple[str, ...]) -> _Evaluated:
    """Answer every sample of some splits, once each."""
    told = _Evaluated()
    for name in splits:
        split = _splits(job.data)[name]
        answers = answers_to(network.graph, network.tensors, job, split)
        told.scores[name] = job.task.score(answers, split.targets)
        known = told.evaluations.get(VALIDATION)
        if (one := evaluated(name, answers, split, job.data, job.task, known)) is not None:
            told.evaluations[name] = one
    return told


def _splits(data: Dataset) -> dict[str, Split]:
    return {VALIDATION: data.validation, TEST: data.test}


def _keep(study: Study, number: int, told: _Evaluated) -> None:
    """Store a trial's evaluations, then its test score: with it the trial is done."""
    content = evaluations_to_json(told.evaluations)
    with study.workspace.lock(BLOBS):  # named before it is stored: a kill leaves no unnamed blob
        study.note(evaluations={number: digest_of(content)})
    study.workspace.store.put(content)
    if TEST in told.scores:
        study.note(test_scores={number: told.scores[TEST]})
