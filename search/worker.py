"""A worker: claims slots of one study until all are over.

It may be killed at any instruction: whoever comes next continues from its checkpoint.
"""

import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import optuna
import torch

from pruning.checkpoint import StoredNetwork, unpack_network
from pruning.errors import CheckpointError
from pruning.train import evaluate
from search.build import Blueprint
from search.config import StorageConfig
from search.dense import ensure_dense
from search.errors import StoreError
from search.front import front_slots
from search.home import open_home
from search.objective import Failed, Outcome, run_slot, tell
from search.study import Study, require_study

log = logging.getLogger("paring.worker")
POLL_S = 0.5


class Interrupted(BaseException):
    """Somebody asked the worker to stop (SIGTERM)."""


def work(storage: StorageConfig, name: str, threads: int) -> None:
    """Work on the study `name` until every slot is over."""
    sys.path.insert(0, str(Path.cwd()))  # user code beside the config stays importable
    torch.set_num_threads(max(1, threads))
    signal.signal(signal.SIGTERM, _interrupt)
    study = require_study(open_home(storage), name)
    blueprint = Blueprint(study.spec)
    study.require_data(blueprint.data.digest)
    dense = ensure_dense(study, blueprint)
    try:
        _work_off(study, blueprint, dense)
    except (Interrupted, KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        log.info("handed back: %s", study.hand_back())
        raise
    _score_front_on_test(study, blueprint)


def _work_off(study: Study, blueprint: Blueprint, dense: StoredNetwork) -> None:
    while not study.over():
        study.reap()
        trial = study.claim()
        if trial is None:
            time.sleep(POLL_S)  # others are at work; one of them may yet be lost
        else:
            _attempt(study, trial, blueprint, dense)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def _attempt(
    study: Study, trial: optuna.Trial, blueprint: Blueprint, dense: StoredNetwork
) -> None:
    log.info("slot %d: attempt %d", trial.number, trial.user_attrs["attempt"])
    with study.heartbeat(trial):
        outcome = _outcome(study, trial, blueprint, dense)
        told = tell(study, trial, outcome)
    log.info("slot %d: %s%s", trial.number, outcome, "" if told else " (taken by another)")


def _outcome(
    study: Study, trial: optuna.Trial, blueprint: Blueprint, dense: StoredNetwork
) -> Outcome:
    """The slot's outcome; whatever goes wrong in one slot must not end the sweep."""
    try:
        return run_slot(study, trial, blueprint, dense)
    except Exception as error:
        log.exception("slot %d failed", trial.number)
        return Failed(f"{type(error).__name__}: {error}")


def _score_front_on_test(study: Study, blueprint: Blueprint) -> None:
    """Read the test split once for every point of the finished front, and for nothing else."""
    with study.home.lock(f"test-{study.key}", timeout=None):
        for trial in front_slots(study):
            key = f"test/{trial.number}"
            if study.note(key) is None:
                digest = trial.user_attrs["result"]["files"]["model.safetensors"]
                try:
                    network = unpack_network(study.home.store.read(digest))
                except (StoreError, CheckpointError) as error:
                    log.warning("slot %d: no test score: %s", trial.number, error)
                    continue
                job = blueprint.dense_job()
                score = evaluate(network.graph, network.tensors, job, blueprint.data.test)
                study.set_note(key, score)
