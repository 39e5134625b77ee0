"""Starting weights from a file, checked before a single one is copied."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning.errors import WeightsError

Model = TypeVar("Model", bound=nn.Module)
Shape = tuple[int, ...]

_SHOWN = 5


def load_weights(model: Model, path: str | Path) -> Model:
    """Copy the tensors of a file into `model` and return it.

    A file named `*.safetensors` is read as such, any other as a torch file of plain tensors
    (a state dict, or a mapping that holds one under "state_dict"); nothing stored in it is
    ever executed. Values are cast to the model's types. The model is untouched unless all
    tensors fit; the batch counters of batch norm may be absent.

    Raises:
        WeightsError: the file is missing, unreadable, or does not fit the model.
    """
    path = Path(path)
    stored = _read(path)
    own = model.state_dict()
    _require_fit(
        path,
        {name: tuple(tensor.shape) for name, tensor in own.items()},
        {name: tuple(tensor.shape) for name, tensor in stored.items()},
    )
    model.load_state_dict({**own, **stored})
    return model


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path}: there is no such file. Give the path of a .safetensors "
            "file or of a torch state dict, or leave the weights out to start from random."
        )
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}). Write it again, or give "
            "a torch file another suffix."
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        stored: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything, even struct.error
        raise WeightsError(
            f"{path} cannot be read as plain tensors: it is damaged, or it holds Python "
            "objects, which are never loaded. Save model.state_dict() instead of the model."
        ) from error
    if isinstance(stored, Mapping) and isinstance(stored.get("state_dict"), Mapping):
        stored = stored["state_dict"]
    return _tensors(path, stored)


def _tensors(path: Path, stored: object) -> dict[str, Tensor]:
    if not isinstance(stored, Mapping):
        raise WeightsError(
            f"{path} holds a {type(stored).__name__}, not a mapping of names to tensors. "
            "Save model.state_dict()."
        )
    other = [str(name) for name, value in stored.items() if not isinstance(value, Tensor)]
    if other:
        raise WeightsError(
            f"{path} holds {_listed(other)} beside tensors. Save model.state_dict() alone."
        )
    return {str(name): value for name, value in stored.items()}


def _require_fit(path: Path, own: Mapping[str, Shape], stored: Mapping[str, Shape]) -> None:
    unknown = [name for name in stored if name not in own]
    missing = [
        name for name in own if name not in stored and not name.endswith("num_batches_tracked")
    ]
    wrong = [
        f"{name} {list(stored[name])} instead of {list(own[name])}"
        for name in own
        if name in stored and own[name] != stored[name]
    ]
    problems = [
        f"{len(names)} {what}: {_listed(names)}"
        for what, names in (
            ("unknown", unknown),
            ("missing", missing),
            ("of the wrong shape", wrong),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            f"{path} does not fit the network ({len(own)} tensors): {'; '.join(problems)}. "
            "Use the model, widths and classes that these weights were trained with."
        )


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
