"""What a network reads and what its outputs mean: for programs that call it with raw samples."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pruning.data import Dataset
from pruning.data.dataset import normalised
from pruning.deploy.evaluator import Evaluator
from pruning.errors import DataError
from pruning.export.stored_model import integer_network
from pruning.tasks import Task
from pruning.training.checkpoint import StoredNetwork

INTERFACE = "interface.json"  # its name among a trial's files
_BATCH = 500


class Meaning(StrEnum):
    """What the outputs of a network are."""

    CLASSES = "classes"  # a score for each class
    NUMBERS = "numbers"  # of a regression
    INPUTS = "inputs"  # given back, as an autoencoder does; its error is the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """The samples of a data set, and what a task makes of a network's outputs.

    Attributes:
        shape: Of one sample, (channels, *spatial).
        dtype: Of its values, in the raw units of the data set's source: "uint8" or "float32".
        meaning: Of the outputs.
        names: Of the classes or numbers.
        example: One sample of the validation split, as nested lists; None where none is known.
    """

    shape: tuple[int, ...]
    dtype: str
    meaning: Meaning
    names: tuple[str, ...]
    example: Any = None

    @staticmethod
    def of(data: Dataset, task: Task) -> "Interface":
        """The interface of the networks that are trained for a task on a data set."""
        sample = data.validation.inputs[0]
        numbers = data.train.targets.is_floating_point()
        meaning = Meaning.NUMBERS if numbers else Meaning.CLASSES
        return Interface(
            shape=data.input_shape,
            dtype=str(sample.numpy().dtype),
            meaning=Meaning.INPUTS if task.goal == "inputs" else meaning,
            names=data.classes,
            example=sample.tolist(),
        )

    @staticmethod
    def of_network(network: StoredNetwork) -> "Interface":
        """The interface of a network that was stored without one: of a classifier."""
        names = tuple(network.notes["classes"])
        shape = tuple(network.graph.input_shape)
        return Interface(shape=shape, dtype="float32", meaning=Meaning.CLASSES, names=names)

    def to_json(self) -> bytes:
        """The file of an interface."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(content: bytes) -> "Interface":
        """The interface in a file."""
        stored = json.loads(content)
        return Interface(
            shape=tuple(stored["shape"]),
            dtype=stored["dtype"],
            meaning=Meaning(stored["meaning"]),
            names=tuple(stored["names"]),
            example=stored["example"],
        )


@final
class Predictor:
    """A stored network that answers for raw samples, with the arithmetic that it was scored with:
    the int8 arithmetic of the generated C to the last bit, or floating point where the network
    was scored in simulation.

    Args:
        network: as it is stored.
        interface: of its data set.

    Example:
        >>> predictor = Predictor(network, interface)  # doctest: +SKIP
        >>> predictor.answers(samples)["label"]  # doctest: +SKIP
    """

    def __init__(self, network: StoredNetwork, interface: Interface) -> None:
        self.interface = interface
        self._run = (
            Evaluator(integer_network(network)) if network.notes.get("codes") else network.module()
        )
        self._mean, self._std = network.notes["mean"], network.notes["std"]

    def outputs(self, samples: ArrayLike) -> NDArray[np.float32]:
        """The network's outputs (N, ...), in real units.

        Args:
            samples: (N, *shape), or flattened (N, values), in raw units.

        Raises:
            DataError: they have another shape.
        """
        parts = torch.split(self._normalised(samples), _BATCH)
        return np.concatenate([self._outputs(part) for part in parts])

    def answers(self, samples: ArrayLike) -> dict[str, NDArray[Any]]:
        """What the network says of each sample, by name.

        For classes: `class` (its position), `label` (its name), and a score for each class as
        `score.NAME`, which is the network's output. For numbers: each by its name. For an
        autoencoder: `error`, the mean squared error in giving back the normalised sample.

        Args:
            samples: (N, *shape), or flattened (N, values), in raw units.

        Raises:
            DataError: they have another shape.
        """
        outputs, names = self.outputs(samples), self.interface.names
        match self.interface.meaning:
            case Meaning.CLASSES:
                columns = outputs.reshape(len(outputs), -1)[:, : len(names)]
                chosen = columns.argmax(1)
                scores = {f"score.{name}": columns[:, i] for i, name in enumerate(names)}
                return {"class": chosen, "label": np.array(names, dtype=object)[chosen], **scores}
            case Meaning.NUMBERS:
                columns = outputs.reshape(len(outputs), -1)
                return {name: columns[:, i] for i, name in enumerate(names)}
            case Meaning.INPUTS:
                given = self._normalised(samples)
                task = Task(goal="inputs")  # the error is what such a task is judged by
                return {"error": task.answers(torch.from_numpy(outputs), given).numpy()}

    def _outputs(self, batch: torch.Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            outputs = self._run(batch)
        one = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        return one.float().numpy()

    def _normalised(self, samples: ArrayLike) -> torch.Tensor:
        """Raw samples as the network reads them: as a data set normalises its own."""
        shape = self.interface.shape
        values = np.array(samples, dtype=self.interface.dtype)  # torch shares the memory
        try:
            batch = torch.from_numpy(values.reshape(-1, *shape))
        except ValueError as error:
            sizes = ", ".join(map(str, shape))
            raise DataError(
                f"samples shaped {values.shape}: this network reads (N, {sizes})"
            ) from error
        return normalised(batch, self._mean, self._std)
