"""Data sets in an `.npz` archive, the plainest way to bring one of your own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pruning.data.dataset import Dataset, Split, assemble, hold_out, numbered, share_of
from pruning.data.files import Array, existing_file, read_npz
from pruning.data.resize import resized
from pruning.errors import DataError

# How to bring each layout to [samples, channels, *spatial]; None is an axis to be made.
LAYOUTS: Final[Mapping[str, tuple[int | None, ...]]] = {
    "NHWC": (0, 3, 1, 2),
    "NCHW": (0, 1, 2, 3),
    "NHW": (0, None, 1, 2),
    "NLC": (0, 2, 1),
    "NCL": (0, 1, 2),
    "NL": (0, None, 1),
    "NC": (0, 1),
}


def npz(
    path: str | Path,
    layout: str = "NHWC",
    *,
    classes: Sequence[str] | None = None,
    validation_share: float = 0.1,
    image_size: int | None = None,
    name: str = "npz",
) -> Dataset:
    """Read x_train, y_train, x_test, y_test and, if there, x_val and y_val.

    Inputs are uint8 or floats in the given layout (N samples, C channels, H height, W width,
    L length). Targets are integers from 0, shaped [N] or [N, 1], or for a regression floats,
    shaped [N] or [N, K]. Without x_val, `validation_share` of the training samples is set
    aside. `image_size` scales images so that the longer side has so many pixels. Classes (or the
    K numbers) are those of y_train, named 0, 1, ..., unless named here.

    Raises:
        DataError: the archive is missing, damaged or incomplete, or its arrays do not fit.
    """
    archive = existing_file(path, "data set")
    _require_layout(layout)
    arrays = read_npz(archive, ("x_train", "y_train", "x_test", "y_test"), ("x_val", "y_val"))
    splits = {
        part: _split(archive, part, arrays, layout)
        for part in ("train", "val", "test")
        if f"x_{part}" in arrays
    }
    train = splits["train"]
    names = numbered(name, train) if classes is None else list(classes)
    if "val" not in splits:
        count = share_of(name, validation_share, len(train))
        train, splits["val"] = hold_out(name, train, count)
    parts = resized((train, splits["val"], splits["test"]), image_size)
    return assemble(name, *parts, names)


def _require_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise DataError(f'layout "{layout}" is not known. Use one of {", ".join(LAYOUTS)}.')


def _split(path: Path, part: str, arrays: Mapping[str, Array], layout: str) -> Split:
    if f"y_{part}" not in arrays:
        raise DataError(f"{path} holds x_{part} but not y_{part}. Store both, or neither.")
    inputs = _inputs(f"x_{part} of {path}", arrays[f"x_{part}"], layout)
    targets = _targets(f"y_{part} of {path}", arrays[f"y_{part}"])
    return Split(inputs, targets)


def _inputs(what: str, array: Array, layout: str) -> Tensor:
    if array.ndim != len(layout):
        raise DataError(
            f'{what} has shape {list(array.shape)}; layout "{layout}" means {len(layout)} '
            f"axes. Use one of {', '.join(LAYOUTS)}."
        )
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{what} holds {array.dtype}. Convert it to uint8 or float32.")
    kind = np.uint8 if array.dtype == np.uint8 else np.float32
    order = LAYOUTS[layout]
    moved = array.transpose([axis for axis in order if axis is not None])
    if None in order:
        moved = np.expand_dims(moved, order.index(None))
    return torch.from_numpy(np.ascontiguousarray(moved, dtype=kind))


def _targets(what: str, array: Array) -> Tensor:
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim in (1, 2) and np.issubdtype(flat.dtype, np.floating):
        return torch.from_numpy(flat.astype(np.float32))
    if flat.ndim != 1 or not np.issubdtype(flat.dtype, np.integer):
        raise DataError(
            f"{what} holds {array.dtype} of shape {list(array.shape)}; expected one integer a "
            "sample, or floats. Store class numbers from 0, not one-hot rows or names."
        )
    return torch.from_numpy(flat.astype(np.int64))
