"""Keyword spotting on log-mel spectrograms of one-second clips.

Reads an archive with `logmel` (uint8 [N, frames, bands], q in nepers being
q / 255 x (high - low) + low), `scale` (low, high), `label` and `words` (their names), and
`split` (0 train, 1 validation, 2 test; by speaker, so nobody is heard in two of them).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pruning.data.dataset import Dataset, Split, assemble, permutation
from pruning.data.files import Array, existing_file, read_npz
from pruning.errors import DataError, warn_of_data
from pruning.spelling import meant

# The usual ten of the keyword task, as this data set spells them.
WORDS: Final = ("yes", "no", "up", "down", "left", "right", "start", "stop", "open", "close")

READ: Final = ("logmel", "scale", "label", "words", "split")
Features = Literal["logmel", "mfcc10"]
_COEFFICIENTS: Final = 10
_GRID: Final = 1024  # steps a neper


def speech_commands(
    path: str | Path,
    words: Sequence[str] = WORDS,
    unknown: bool = True,
    features: Features = "logmel",
    name: str = "speech-commands",
) -> Dataset:
    """Clips of `words`, and of all other words together as the class "unknown".

    "unknown" gets as many clips as a word has on average in each split, taken in turn from
    the other words, always the same ones. `features` "logmel" gives uint8 [N, 1, frames,
    bands] as stored, "mfcc10" float32 [N, 1, frames, 10]: the first ten coefficients of an
    orthonormal DCT-II over the bands, in nepers.

    Raises:
        DataError: the archive is missing, damaged or incomplete, or lacks a word.
    """
    archive = existing_file(path, "log-mel archive")
    arrays = read_npz(archive, READ, beside=("speaker", "take"))
    _require_fit(archive, arrays, words, features)
    targets = _targets(arrays, words)
    inputs = _inputs(arrays, features)
    splits = [_split(inputs, targets, arrays, part, len(words), unknown) for part in range(3)]
    classes = [*words, "unknown"] if unknown else list(words)
    train, validation, test = splits
    return assemble(name, train, validation, test, classes)


def _require_fit(
    path: Path, arrays: Mapping[str, Array], words: Sequence[str], features: str
) -> None:
    words_held = [str(word) for word in arrays["words"]]
    absent = [word for word in words if word not in words_held]
    if absent and tuple(words) == WORDS:  # nobody asked for them
        raise DataError(
            f"{path} holds other words than the usual ones: {', '.join(words_held)}. Give those to "
            "be told apart: +data.words=[...] (words=[...] in Python)."
        )
    likely = meant(absent[0], words_held) if absent else None
    meaning = f" Did you mean {likely}?" if likely else ""
    if absent or len(set(words)) != len(words) or not words:
        raise DataError(
            f"words {', '.join(words)}: {', '.join(absent) or 'some'} cannot be used. Name "
            f"each once, out of the {len(words_held)} of {path}: {', '.join(words_held)}.{meaning}"
        )
    if features not in ("logmel", "mfcc10"):
        raise DataError(f'features "{features}" are not known. Use logmel or mfcc10.')
    if not _fit_together(arrays):
        held = ", ".join(f"{key} {a.dtype} {list(a.shape)}" for key, a in arrays.items())
        raise DataError(
            f"{path} holds {held}. Expected logmel uint8 [N, frames, bands], label and split "
            "whole numbers [N], scale [2], and a word for each label. Get the file again."
        )
    if strangers := int((~np.isin(arrays["split"], range(3))).sum()):
        warn_of_data(
            f"{path}: not used: {strangers} clips whose split is none of 0 (train), 1 "
            "(validation) and 2 (test)."
        )


def _fit_together(arrays: Mapping[str, Array]) -> bool:
    spectrograms, labels = arrays["logmel"], arrays["label"]
    return (
        spectrograms.ndim == 3
        and spectrograms.dtype == np.uint8
        and arrays["scale"].shape == (2,)
        and labels.shape == arrays["split"].shape == spectrograms.shape[:1]
        and np.issubdtype(labels.dtype, np.integer)
        and np.issubdtype(arrays["split"].dtype, np.integer)
        and bool(np.isin(labels, np.arange(len(arrays["words"]))).all())
    )


def _targets(arrays: Mapping[str, Array], words: Sequence[str]) -> NDArray[np.int64]:
    """Each clip's class: its place in `words`, or len(words) for any other word."""
    places = {word: place for place, word in enumerate(words)}
    by_label = np.array([places.get(str(word), len(words)) for word in arrays["words"]], np.int64)
    targets: NDArray[np.int64] = by_label[arrays["label"]]
    return targets


def _inputs(arrays: Mapping[str, Array], features: Features) -> Tensor:
    stored = arrays["logmel"]
    if features == "logmel":
        return torch.from_numpy(stored).unsqueeze(1)
    low, high = (float(end) for end in arrays["scale"].astype(np.float64))
    nepers = stored.astype(np.float64) * ((high - low) / 255) + low
    # On a grid, so that the last bits of one machine's product do not move the digest.
    cepstra = np.rint(nepers @ _cosines(stored.shape[2]) * _GRID) / _GRID
    return torch.from_numpy(cepstra.astype(np.float32)).unsqueeze(1)


def _cosines(bands: int) -> NDArray[np.float64]:
    """The first columns of an orthonormal DCT-II: [bands, 10]."""
    place = (np.arange(bands)[:, None] + 0.5) * np.arange(_COEFFICIENTS)
    table: NDArray[np.float64] = np.cos(np.pi / bands * place) * np.sqrt(2 / bands)
    table[:, 0] /= np.sqrt(2)
    return table


def _split(
    inputs: Tensor,
    targets: NDArray[np.int64],
    arrays: Mapping[str, Array],
    part: int,
    words: int,
    unknown: bool,
) -> Split:
    here = arrays["split"] == part
    chosen = np.flatnonzero(here & (targets < words))
    if unknown:
        others = np.flatnonzero(here & (targets == words))
        chosen = np.concatenate(
            [chosen, _in_turn(others, arrays["label"][others], round(len(chosen) / words))]
        )
    return Split(inputs[chosen], torch.from_numpy(targets[chosen]))


def _in_turn(clips: NDArray[np.intp], labels: Array, count: int) -> NDArray[np.intp]:
    """`count` clips in a fixed random order that takes one of every label in each round."""
    order = permutation(len(clips)).numpy()
    turn = np.empty(len(clips), np.int64)
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = np.arange(len(mine))
    by_turn = order[np.argsort(turn[order], kind="stable")]
    first_clips: NDArray[np.intp] = clips[by_turn[:count]]
    return first_clips
