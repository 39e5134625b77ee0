"""IDX files, the format of MNIST, Fashion-MNIST and their kin, plain or gzipped.

A file is: two zero bytes, a type code (8 for unsigned bytes), the number of axes, each
axis's length as a big-endian 32-bit integer, then the values, last axis fastest.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pruning.data.dataset import Dataset, Split, assemble, hold_out, numbered
from pruning.data.files import existing_folder
from pruning.data.resize import resized
from pruning.errors import DataError

_UNSIGNED_BYTES = 8


def idx(
    folder: str | Path,
    validation: int = 5000,
    *,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    name: str = "idx",
) -> Dataset:
    """Read the usual four files: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz].

    Images become uint8 [N, 1, H, W]. `validation` of the training images are set aside.
    Classes are named by their numbers, unless named here. `image_size` scales the images so that
    the longer side has so many pixels.

    Raises:
        DataError: the folder or a file is missing, or a file is damaged or does not fit.
    """
    source = existing_folder(folder, "IDX files")
    train, test = _split(source, "train"), _split(source, "t10k")
    names = numbered(name, train) if classes is None else list(classes)
    train, held_out = hold_out(name, train, validation)
    return assemble(name, *resized((train, held_out, test), image_size), names)


def _split(folder: Path, part: str) -> Split:
    images = _read(folder, f"{part}-images-idx3-ubyte", 3)
    labels = _read(folder, f"{part}-labels-idx1-ubyte", 1)
    return Split(images.unsqueeze(1), labels.long())


def _read(folder: Path, name: str, axes: int) -> Tensor:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise DataError(
            f"no {name} or {name}.gz in {folder}. Put the four IDX files there under their "
            "usual names."
        )
    return _parsed(path, _content(path), axes)


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}). Get it again.") from error


def _parsed(path: Path, content: bytes, axes: int) -> Tensor:
    header = 4 + 4 * axes
    if len(content) < header or content[:4] != bytes((0, 0, _UNSIGNED_BYTES, axes)):
        raise DataError(
            f"{path} starts with {content[:4].hex()}; an IDX file of unsigned bytes with "
            f"{axes} axes starts with 0000{_UNSIGNED_BYTES:02x}{axes:02x}. Is it another file?"
        )
    shape = struct.unpack(f">{axes}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path} holds {len(content) - header} values; its header says {list(shape)}, "
            f"which is {math.prod(shape)}. It is cut or damaged: get it again."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())
