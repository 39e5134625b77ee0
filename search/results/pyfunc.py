"""A trial's network as MLflow calls it: the loader that its models name, and what it gives.

MLflow imports this module by the name in a model's MLmodel file, so it must keep its place.
"""

from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pruning.errors import DataError
from pruning.export.interface import INTERFACE, Interface, Predictor
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import unpack_network

ALL = "all"


@final
class PyfuncModel:
    """A network that answers for raw samples. `mlflow.pyfunc.load_model` wraps it.

    Args:
        predictor: the network.
        answers: ALL, or the one column that is wanted: "class" or "label" for
            `mlflow.models.evaluate`, which takes one answer a sample.

    Example:
        >>> import mlflow
        >>> model = mlflow.pyfunc.load_model("models:/demo@stm32f446")  # doctest: +SKIP
        >>> model.predict(samples)[["label", "score.7"]]  # doctest: +SKIP
        >>> mlflow.models.evaluate(  # doctest: +SKIP
        ...     "models:/demo@stm32f446", frame, targets="target", model_type="classifier",
        ...     model_config={"answers": "class"},
        ... )
    """

    def __init__(self, predictor: Predictor, answers: str = ALL) -> None:
        self._predictor, self._answers = predictor, answers

    def predict(
        self,
        model_input: Any,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow gives them
    ) -> pd.DataFrame | NDArray[Any]:
        """A row of answers for each sample, or the one that is wanted of each; see
        `pruning.export.interface.Predictor.answers`.

        Args:
            model_input: Raw samples: an array (N, *shape), the same as nested lists, or a frame
                whose rows are samples, flattened or with an array in its only column.
            params: Not used.

        Raises:
            DataError: the samples have another shape, or there is no such answer.
        """
        if isinstance(model_input, pd.DataFrame):
            cells = model_input.to_numpy()
            model_input = np.stack(cells[:, 0]) if cells.dtype == object else cells
        columns = self._predictor.answers(model_input)
        if self._answers == ALL:
            return pd.DataFrame(columns)
        if self._answers not in columns:
            raise DataError(
                f"answers={self._answers}: choose {ALL}, or one of {', '.join(columns)}"
            )
        return columns[self._answers]


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> PyfuncModel:
    """The network in a folder that MLflow has fetched. MLflow calls this function."""
    folder = Path(path)
    network = unpack_network((folder / MODEL).read_bytes())
    told = folder / INTERFACE
    known = Interface.from_json(told.read_bytes()) if told.exists() else None
    predictor = Predictor(network, known or Interface.of_network(network))
    return PyfuncModel(predictor, (model_config or {}).get("answers", ALL))
