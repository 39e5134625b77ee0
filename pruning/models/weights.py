"""Starting weights from a file, checked before a single one is copied."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning.errors import WeightsError

Model = TypeVar("Model", bound=nn.Module)
Shape = tuple[int, ...]

_SHOWN = 5
_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


def load_weights(model: Model, path: str | Path, reinit: Sequence[str] = ()) -> Model:
    """Copy the tensors of a safetensors file into `model` and return it.

    The names are those of the module's state dict; the batch counters of batch norm may be
    absent. `reinit` names layers that keep the weights they have, whatever the file says of
    them (a prefix names all layers below it): a head for other classes, say. Values are cast
    to the model's types. The model is untouched unless all tensors fit.

    Raises:
        WeightsError: the file is missing, of another format, damaged, or does not fit the
            model; or there is no layer of a name in `reinit`.
    """
    path = Path(path).expanduser()
    state = model.state_dict()
    for layer in reinit:
        if not any(_below(name, [layer]) for name in state):
            raise WeightsError(
                f"reinit: no layer is named {layer!r}; layers with weights: "
                f"{', '.join(dict.fromkeys(name.rpartition('.')[0] for name in state))}"
            )
    expected = {name: tensor for name, tensor in state.items() if not _below(name, reinit)}
    stored = {n: tensor for n, tensor in _read(path).items() if not _below(n, reinit)}
    _require_fit(
        path,
        {name: tuple(tensor.shape) for name, tensor in expected.items()},
        {name: tuple(tensor.shape) for name, tensor in stored.items()},
    )
    for name, tensor in stored.items():
        if not tensor.isfinite().all():
            raise WeightsError(
                f"{path}: {name} holds values that are not finite. Export the weights again."
            )
    model.load_state_dict({**state, **stored})
    return model


def weights_digest(path: str | Path) -> str:
    """SHA-256 of a weights file, in hex.

    Raises:
        WeightsError: there is no such file.
    """
    return hashlib.sha256(_existing(Path(path).expanduser()).read_bytes()).hexdigest()


def _below(name: str, layers: Sequence[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path}: there is no such file. Give the path of a .safetensors "
            "file, or leave the weights out to start from random."
        )
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Formats that can hold code are not opened at all."""
    _existing(path)
    if path.suffix.lower() in _PICKLED:
        raise WeightsError(
            f"{path} is a {path.suffix} file, which can run code when it is read. Where you "
            "trust it, convert it: safetensors.torch.save_file(torch.load(FILE, "
            "weights_only=True), 'weights.safetensors')."
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}). Write it again with "
            "safetensors.torch.save_file(model.state_dict(), ...)."
        ) from error


def _require_fit(path: Path, expected: Mapping[str, Shape], stored: Mapping[str, Shape]) -> None:
    """Name every tensor of the wrong shape, and the first ones that are unknown or missing."""
    unknown = [name for name in stored if name not in expected]
    missing = [
        name for name in expected if name not in stored and not name.endswith("num_batches_tracked")
    ]
    wrong = [
        f"{name} {list(stored[name])} instead of {list(expected[name])}"
        for name in expected
        if name in stored and expected[name] != stored[name]
    ]
    problems = [
        f"{len(names)} {what}: {names_listed}"
        for what, names, names_listed in (
            ("unknown", unknown, _listed(unknown)),
            ("missing", missing, _listed(missing)),
            ("of the wrong shape", wrong, ", ".join(wrong)),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            f"{path} does not fit the network ({len(expected)} tensors): {'; '.join(problems)}. "
            "Use the model and widths that these weights were trained with; layers that are to "
            "start anew, such as a head for other classes, are named in reinit=[LAYER]."
        )


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
