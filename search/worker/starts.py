"""What a worker's trials start from: their variants and dense networks, kept while it lives."""

from typing import final

import optuna

from pruning.training.checkpoint import StoredNetwork
from search.errors import SearchError
from search.storage.outage import is_outage
from search.study.command import Command
from search.study.control import current_command, send
from search.study.study import Study
from search.study.trials import sampled_params, waiting
from search.study.variants import Variant, Variants, facts_of
from search.worker.dense import ensure_dense, is_in_training
from search.worker.stop_signals import Reason, StopMonitor, Stopped

POLL_S = 0.5


@final
class Starts:
    """The variants of a study and their dense networks, each loaded or trained once."""

    def __init__(self, study: Study, monitor: StopMonitor) -> None:
        self.variants = Variants(study)
        self._study, self._monitor = study, monitor
        self._networks: dict[str, StoredNetwork] = {}

    def prepare(self) -> None:
        """Train what every trial starts from: the dense network of a study that has one.

        Raises:
            Stopped: there was a reason to leave.
        """
        if (common := self.variants.only) is None:
            return
        while not self._ready(common, None):
            self._monitor.wait(POLL_S)  # paused

    def of(self, trial: optuna.Trial) -> tuple[Variant, StoredNetwork] | None:
        """The variant of a claimed trial and its dense network, which may be trained first; None
        while another worker trains it, or while the study is paused.

        Raises:
            Stopped: there was a reason to leave.
        """
        with self._monitor.over(trial):
            variant = self.variants.of(sampled_params(self._study, trial))
        if variant.key not in self._networks and is_in_training(self._study, variant.key):
            return None
        ready = self._ready(variant, trial)
        return (variant, self._networks[variant.key]) if ready else None

    def blocked(self) -> set[int]:
        """The waiting trials that have drawn a variant which another worker trains just now."""
        study = self._study
        known = study.facts.all_variants
        keys = {facts.dense_key for facts in known} if len(known) > 1 else set()
        busy = {key for key in keys if key is not None and is_in_training(study, key)}
        if not busy:
            return set()
        drawn = [trial for trial in waiting(study) if trial.params]
        return {t.number for t in drawn if facts_of(study, t.params).dense_key in busy}

    def _ready(self, variant: Variant, trial: optuna.Trial | None) -> bool:
        """Load or train a dense network; False where the study is paused."""
        study, monitor = self._study, self._monitor
        if variant.key in self._networks:
            return True
        if monitor.outlast(lambda: current_command(study)).command is Command.PAUSE:
            return False
        try:
            with monitor.over(trial):
                network = monitor.outlast(lambda: ensure_dense(study, variant, monitor))
        except Stopped as stopped:
            if stopped.reason is not Reason.PAUSED:
                raise
            return False
        except Exception as error:
            if not isinstance(error, SearchError) and not is_outage(error):
                why = f"the dense training failed: {type(error).__name__}: {error}"
                send(study, Command.HALT, why)  # other workers would fail in the same way
            raise
        self._networks[variant.key] = network
        return True
