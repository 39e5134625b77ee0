"""A finished trial's network, taken out of its study."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from pruning.allocation.explain import explanation_from_json
from pruning.api.why import why
from pruning.budget import Budget, Cost
from pruning.deploy.backends.c_name import checked_c_name
from pruning.errors import OutputError
from pruning.execution.network import Network
from pruning.export.formats import Format, format_of
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import unpack_network
from search.errors import StoreError, UnreadableError
from search.results.evaluate_front import evaluate_trial
from search.results.export import write_model, write_pages
from search.results.mlflow_sync import register_model
from search.storage.trial_record import result_of
from search.study.study import Study
from tracking.errors import TrackingError
from tracking.evaluation import Evaluation
from tracking.explanation import EXPLANATION
from tracking.records import StudyRecord, TrialRecord


@final
@dataclass(frozen=True, slots=True, eq=False)
class TrialModel:
    """The network of a finished trial. `SweepStudy.pick` and `SweepStudy.model` give one.

    Args:
        study: where it comes from.
        record: the study, with costs for the device that the model was picked for.
        trial: its trial.

    Example:
        >>> import search
        >>> model = search.load_study("demo").pick(device="stm32f103")  # doctest: +SKIP
        >>> model.score, model.cost.flash_bytes  # doctest: +SKIP
        (0.9694, 12404)
        >>> model.export("firmware", format="c")  # doctest: +SKIP
    """

    study: Study
    record: StudyRecord
    trial: TrialRecord

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.trial.number

    @property
    def score(self) -> float | None:
        """The task's metric on the validation split, of the int8 network."""
        return self.trial.score

    @property
    def test_score(self) -> float | None:
        """The same on the test split, which is read for trials of the front alone."""
        return self.trial.test_score

    @property
    def cost(self) -> Cost:
        """Estimated, on the device that the model was picked for; else on the study's own."""
        return Cost(**asdict(self.trial.known_costs))

    @property
    def widths(self) -> Mapping[str, int]:
        """The channels of every prunable group."""
        return self.trial.widths

    @property
    def evaluations(self) -> Mapping[str, Evaluation]:
        """What the network answers on "validation" and "test": confusion matrix, precision and
        recall by class, calibration and the worst mistakes, or what there is in their place for
        numbers and anomalies. Empty until the study is over, and for trials on no front.
        """
        return self.trial.evaluations

    def evaluate(self) -> Evaluation:
        """What the network answers on validation, computed now: for a trial that has no
        `evaluations`. Nothing is stored, and the test split is not read.

        Raises:
            StudyError: the data have changed, or the outputs are no answers for these classes.
        """
        return evaluate_trial(self.study, self.trial)

    def module(self) -> Network:
        """The network in floating point, (batch, channels, *spatial) in, in inference mode."""
        return unpack_network(self.study.workspace.store.read(self.trial.files[MODEL])).module()

    def why(self) -> str:
        """What each limit cost on the study's device, and why each channel group has its width, as
        a table.
        """
        result = result_of(self.study.trials()[self.number])
        if result is None:
            raise StoreError(f"trial {self.number}: its result is gone")
        cost, limits = result.cost, Budget(**asdict(self.trial.budget))
        if (digest := self.trial.files.get(EXPLANATION)) is None:
            return why(None, cost, limits)
        stored = json.loads(self.study.workspace.store.read(digest))
        return why(explanation_from_json(stored), cost, limits)

    def export(
        self, folder: str | Path, format: str | Format = "c", name: str = "model"
    ) -> tuple[Path, ...]:
        """Write the network into a folder, in place of what an earlier export wrote there.

        Args:
            folder: is made where it does not exist; files of others stay.
            format: "c" (int8, C99), "tflite" (int8; extra [tflite]), "safetensors", or "onnx"
                (floating point; extra [onnx]); or a format of your own.
            name: what all names of generated C begin with.

        Returns:
            The files, each whole: the network, model.json, a README.md, the page why.html
            where what it needs is stored, and evaluation.html where `evaluations` has some.

        Raises:
            DeployError: the network has no such form, or C no such name. PruningError: there is
                no such format. OutputError: a file of somebody else is in the way.
        """
        form, place, called = format_of(format), Path(folder), checked_c_name(name)
        files = write_model(self.study, self.record, self.trial, place, form, called)
        try:
            return (*files, *write_pages(self.study, self.record, self.trial, place))
        except (StoreError, UnreadableError, OutputError, TrackingError):
            return files  # the model is good without it

    def register(self, files: Sequence[Path], alias: str = "best") -> str:
        """Put the model into MLflow's registry; returns its version.

        Args:
            files: as `export` gave them.
            alias: moves to this version.

        Raises:
            TrackingError: MLflow is out of reach, or takes no such name.
        """
        return register_model(self.study, self.record, self.trial, files, alias)
