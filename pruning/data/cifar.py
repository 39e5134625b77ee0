"""CIFAR-10 (Krizhevsky, 2009): 60,000 colour images of 32x32 in ten classes.

Two forms are read: the authors' *binary version* (`data_batch_1.bin` to `data_batch_5.bin`
and `test_batch.bin`; a record is a label byte and 3 x 1024 bytes of red, green and blue), and
a JPEG copy (`cifar10-train-jpeg.npz` and `cifar10-test-jpeg.npz`; arrays `jpeg`, a blob,
`offset`, where each image starts and the last ends, and `label`). The authors' Python version
is a set of pickles, which could run code: it is refused.
"""

import hashlib
import io
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pruning.atomic_write import atomic_write
from pruning.data.dataset import Dataset, Split, assemble, hold_out
from pruning.data.files import Array, existing_folder, read_npz, require_whole
from pruning.data.resize import resized
from pruning.errors import DataError

CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

_SIDE: Final = 32
_RECORD: Final = 1 + 3 * _SIDE * _SIDE


def cifar10(
    folder: str | Path,
    validation: int = 5000,
    cache: str | Path | None = None,
    image_size: int | None = None,
) -> Dataset:
    """Read whichever form of CIFAR-10 the folder holds, as uint8 [N, 3, 32, 32].

    `validation` of the training images are set aside. Decoding the JPEG copy takes some
    seconds; with `cache`, a folder, the pixels are stored there once (184 MB) and read back
    while the copy keeps its name, size and time of change. `image_size` scales the images to so
    many pixels a side.

    Raises:
        DataError: the folder or a file is missing, damaged, or of the Python version.
    """
    source = existing_folder(folder, "CIFAR-10")
    if (source / "cifar10-train-jpeg.npz").is_file():
        name, cache_folder = "cifar10-jpeg", None if cache is None else Path(cache).expanduser()
        train = _jpeg_split(source / "cifar10-train-jpeg.npz", cache_folder)
        test = _jpeg_split(source / "cifar10-test-jpeg.npz", cache_folder)
    else:
        name = "cifar10"
        train = _binary_split(source, [f"data_batch_{number}" for number in range(1, 6)])
        test = _binary_split(source, ["test_batch"])
    train, held_out = hold_out(name, train, validation)
    return assemble(name, *resized((train, held_out, test), image_size), CLASSES)


def _binary_split(folder: Path, names: list[str]) -> Split:
    records = np.concatenate([_records(folder, name) for name in names])
    pixels = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
    return _checked(pixels, records[:, 0])


def _records(folder: Path, name: str) -> NDArray[np.uint8]:
    path = folder / f"{name}.bin"
    if not path.is_file():
        pickled = (folder / name).is_file()
        why = f"; {name} is of the Python version, a pickle, and never loaded" if pickled else ""
        raise DataError(f"no {path.name} in {folder}{why}. Use the CIFAR-10 binary version.")
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if content.size == 0 or content.size % _RECORD:
        raise DataError(
            f"{path} holds {content.size} bytes, not a whole number of records of {_RECORD}. "
            "It is cut or damaged: get it again."
        )
    return content.reshape(-1, _RECORD)


def _jpeg_split(path: Path, cache: Path | None) -> Split:
    if not path.is_file():
        raise DataError(f"no {path.name} in {path.parent}. Put both halves of the copy there.")
    arrays = read_npz(path, ("jpeg", "offset", "label"))
    offsets, labels = arrays["offset"], arrays["label"]
    for key in ("offset", "label"):
        require_whole(f"{key} of {path}", arrays[key])
    _require_offsets(path, arrays["jpeg"], offsets, len(labels))
    stored = None if cache is None else _cache_file(cache, path)
    pixels = None if stored is None else _cached(stored, len(labels))
    if pixels is None:
        pixels = _decoded(path, arrays["jpeg"].tobytes(), [int(o) for o in offsets])
        if stored is not None:
            _keep(stored, pixels)
    return _checked(pixels, labels)


def _require_offsets(path: Path, blob: Array, offsets: Array, count: int) -> None:
    steps = np.diff(offsets.astype(np.int64))
    fits = len(offsets) == count + 1 and count > 0 and offsets[0] == 0 and (steps > 0).all()
    if not fits or offsets[-1] != blob.size:
        raise DataError(
            f"{path} holds {count} labels and {len(offsets)} offsets into {blob.size} bytes "
            "that do not fit together. It is damaged: get it again."
        )


def _decoded(path: Path, blob: bytes, offsets: list[int]) -> NDArray[np.uint8]:
    """All images of a blob as [N, 3, 32, 32]."""
    pixels = np.empty((len(offsets) - 1, _SIDE, _SIDE, 3), np.uint8)
    for number in range(len(pixels)):
        try:
            with Image.open(io.BytesIO(blob[offsets[number] : offsets[number + 1]])) as image:
                pixels[number] = np.asarray(image.convert("RGB"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"image {number} of {path} is not a 32x32 JPEG ({error}). Get the file again."
            ) from error
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _checked(pixels: NDArray[np.uint8], labels: Array) -> Split:
    return Split(torch.from_numpy(pixels).contiguous(), torch.from_numpy(labels.astype(np.int64)))


def _cache_file(cache: Path, source: Path) -> Path:
    """Where the pixels of `source` are kept while its name, size and time stay the same."""
    state = source.stat()
    mark = f"{source.name} {state.st_size} {state.st_mtime_ns}"
    return cache / f"{source.stem}-{hashlib.sha256(mark.encode()).hexdigest()[:16]}.npy"


def _cached(path: Path, count: int) -> NDArray[np.uint8] | None:
    """Pixels kept earlier, shared with other processes; None if there are none to trust."""
    try:
        pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = pixels.shape == (count, 3, _SIDE, _SIDE) and pixels.dtype == np.uint8
    return pixels if fits else None


def _keep(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Store pixels so that no reader ever sees half a file."""
    try:
        with atomic_write(path) as file:
            np.save(file, pixels)
    except OSError as error:
        raise DataError(
            f"the cache {path.parent} cannot be written ({error}). Name another folder with "
            f"{pixels.nbytes} bytes free, or none."
        ) from error
