"""Every reader of files, on small files made here and on real data where it is at hand."""

import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pruning import data
from pruning.data import Split
from pruning.errors import DataError, DataWarning

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FASHION = Path("/usr/share/datasets/fashion-mnist")


def needs(path: Path) -> Path:
    """A path of real data, or a skipped test."""
    if not path.exists():
        pytest.skip(f"real data absent: no {path}")
    return path


def rows(split: Split) -> set[bytes]:
    return {row.numpy().tobytes() for row in split.inputs}


# IDX


def write_idx(path: Path, array: np.ndarray, packed: bool = False) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def idx_folder(request, tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    suffix = ".gz" if request.param else ""
    for part, count in (("train", 30), ("t10k", 12)):
        images = draw.integers(0, 256, (count, 7, 5), dtype=np.uint8)
        labels = (np.arange(count) % 4).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", images, request.param)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", labels, request.param)
    return tmp_path


def test_idx_files_are_read(idx_folder: Path):
    made = data.idx(idx_folder, validation=10, name="small")
    assert (len(made.train), len(made.validation), len(made.test)) == (20, 10, 12)
    assert made.input_shape == (1, 7, 5)
    assert made.classes == ("0", "1", "2", "3")
    draw = np.random.default_rng(0)
    train = draw.integers(0, 256, (30, 7, 5), dtype=np.uint8)
    test = draw.integers(0, 256, (12, 7, 5), dtype=np.uint8)
    assert np.array_equal(made.test.inputs[:, 0].numpy(), test)
    assert made.test.targets.tolist() == [0, 1, 2, 3] * 3
    assert rows(made.train) | rows(made.validation) == {image.tobytes() for image in train}


def test_idx_digest_is_independent_of_place(idx_folder: Path):
    before = data.idx(idx_folder, validation=10).digest
    moved = idx_folder.rename(idx_folder.with_name(f"{idx_folder.name}-moved"))
    assert data.idx(moved, validation=10).digest == before


def test_idx_names_too_few_classes(idx_folder: Path):
    with pytest.raises(DataError, match="run from 0 to 3; with 2 classes"):
        data.idx(idx_folder, validation=10, classes=["cat", "dog"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no t10k-labels-idx1-ubyte or"),
        (lambda path: path.write_bytes(b""), "starts with ;"),
        (lambda path: path.write_bytes(b"\x00\x00\x0d\x01" + bytes(8)), "starts with 00000d01"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "holds 9 values; .*is 12"),
        (lambda path: path.write_bytes(gzip.compress(bytes(99))[:20]), "damaged gzip"),
        (
            lambda path: write_idx(path, np.zeros(5, np.uint8)),
            r"expected int64 of shape \[12\]",
        ),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, spoil, message):
    for part, count in (("train", 30), ("t10k", 12)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((count, 2, 2), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.zeros(count, np.uint8))
    spoil(tmp_path / "t10k-labels-idx1-ubyte")
    with pytest.raises(DataError, match=message):
        data.idx(tmp_path, validation=10)


@pytest.mark.slow
def test_fashion_mnist():
    made = data.idx(needs(FASHION), name="fashion-mnist")
    assert (len(made.train), len(made.validation), len(made.test)) == (55_000, 5_000, 10_000)
    assert made.input_shape == (1, 28, 28)
    assert torch.bincount(made.test.targets).tolist() == [1000] * 10


# npz


def write_npz(folder: Path, **replaced: np.ndarray | None) -> Path:
    draw = np.random.default_rng(1)
    arrays = {
        f"{letter}_{part}": value
        for part, count in (("train", 20), ("val", 5), ("test", 5))
        for letter, value in (
            ("x", draw.integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)),
            ("y", np.arange(count) % 5),
        )
    }
    arrays = {**arrays, **replaced}
    path = folder / "mine.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_npz_with_its_own_validation(tmp_path: Path):
    made = data.npz(write_npz(tmp_path), classes=["a", "b", "c", "d", "e"])
    stored = np.load(tmp_path / "mine.npz")
    assert made.input_shape == (3, 4, 6)
    assert np.array_equal(made.validation.inputs.numpy(), stored["x_val"].transpose(0, 3, 1, 2))
    assert made.train.targets.tolist() == stored["y_train"].tolist()
    assert made.classes == ("a", "b", "c", "d", "e")


def test_npz_without_validation_sets_some_aside(tmp_path: Path):
    made = data.npz(write_npz(tmp_path, x_val=None, y_val=None), validation_share=0.25)
    assert (len(made.train), len(made.validation)) == (15, 5)
    assert made.classes == tuple("01234")


@pytest.mark.parametrize(
    ("layout", "stored", "expected"),
    [
        ("NHWC", (5, 4, 6, 3), (3, 4, 6)),
        ("NCHW", (5, 3, 4, 6), (3, 4, 6)),
        ("NHW", (5, 4, 6), (1, 4, 6)),
        ("NLC", (5, 9, 2), (2, 9)),
        ("NCL", (5, 2, 9), (2, 9)),
        ("NL", (5, 9), (1, 9)),
        ("NC", (5, 9), (9,)),
    ],
)
def test_npz_layouts(tmp_path: Path, layout, stored, expected):
    array = np.arange(np.prod(stored), dtype=np.float64).reshape(stored)
    labels = np.arange(5).reshape(5, 1)
    path = write_npz(
        tmp_path,
        **{f"x_{part}": array for part in ("train", "val", "test")},
        **{f"y_{part}": labels for part in ("train", "val", "test")},
    )
    made = data.npz(path, layout)
    assert made.input_shape == expected
    assert made.train.inputs.dtype == torch.float32
    at = {"N": 1, "C": 1, "H": 2, "W": 3, "L": 4}
    source = array[tuple(at[axis] for axis in layout)]
    channel = at["C"] if "C" in layout else 0
    place = [at[axis] for axis in layout if axis in "HWL"]
    ours = made.train.inputs[(at["N"], channel, *place)]
    assert ours.item() == source


@pytest.mark.parametrize(("width", "names"), [((), "0"), ((1,), "0"), ((3,), "012")])
def test_npz_with_numbers_as_targets(tmp_path: Path, width, names):
    numbers = {n: np.random.default_rng(0).random((n, *width)) for n in (5, 20)}
    targets = {"y_train": numbers[20], "y_val": numbers[5], "y_test": numbers[5]}
    made = data.npz(write_npz(tmp_path, **targets))
    assert made.classes == tuple(names)
    assert made.train.targets.dtype == torch.float32
    assert made.train.targets.flatten().numpy() == pytest.approx(numbers[20].flatten())


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"y_test": None}, "lacks y_test; it holds"),
        ({"y_val": None}, "holds x_val but not y_val"),
        ({"x_train": np.zeros((20, 4, 6))}, 'layout "NHWC" means 4 axes'),
        ({"x_train": np.zeros((20, 4, 6, 3), np.int32)}, "holds int32"),
        (
            {"y_train": np.eye(20)},
            r"are classes \(int64\), but those of the train split are numb",
        ),
        (
            {"y_train": np.arange(20.0)},
            r"are classes \(int64\), but those of the train split are n",
        ),
        ({"y_train": np.arange(20) * 2**36}, "20 training targets .* 1305670057985 classes"),
        ({"y_train": np.arange(20) - 20}, "20 training targets of npz run from -20 to -1"),
        ({"y_train": np.zeros(0, int), "x_train": np.zeros((0, 4, 6, 3))}, "train .*is empty"),
        ({"y_test": np.full(5, 99)}, "test split .*run from 99 to 99; with 5 classes"),
        (
            {"x_valid": np.zeros(3), "x_val": None, "y_val": None},
            r"nobody reads: x_valid \(x_val\?",
        ),
        (
            {"X_Validation": np.zeros(3), "x_val": None, "y_val": None},
            r"X_Validation \(x_val\?",
        ),
        ({"xtest": np.zeros(3), "x_test": None}, "lacks x_test; it holds .*xtest"),
        ({"y_train": np.eye(20)[None].repeat(20, 0)}, r"\[20, 20, 20\]; expected one integer"),
        ({"y_train": np.array([{}] * 20)}, "holds Python objects.*never loaded"),
    ],
)
def test_npz_that_does_not_fit_is_refused(tmp_path: Path, replaced, message):
    with pytest.raises(DataError, match=message):
        data.npz(write_npz(tmp_path, **replaced))


def test_arrays_that_nobody_reads_are_named(tmp_path: Path, recwarn):
    plain = data.npz(write_npz(tmp_path))
    assert not recwarn.list
    path = write_npz(tmp_path, subject_train=np.arange(20), x_valid=np.zeros(3))
    with pytest.warns(DataWarning, match="not used: subject_train, x_valid.*x_train.*y_val"):
        assert data.npz(path).digest == plain.digest


def test_labels_that_begin_with_1_are_told_of(tmp_path: Path):
    path = write_npz(
        tmp_path, **{f"y_{part}": np.arange(n) % 3 + 1 for part, n in
                     (("train", 20), ("val", 5), ("test", 5))},
    )  # fmt: skip
    with pytest.warns(DataWarning, match="class 0.*begin with 1") as told:
        assert data.npz(path).classes == tuple("0123")
    assert [each.filename for each in told] == [__file__]  # the line that asked


def test_a_class_of_which_all_samples_are_held_out_keeps_its_name(tmp_path: Path):
    highest = np.zeros(20, int)
    highest[:10] = 1
    _, held = data.hold_out("", Split(torch.zeros(20, 1), torch.arange(20)), 10)
    highest[held.targets[0]] = 2
    path = write_npz(tmp_path, y_train=highest, x_val=None, y_val=None, y_test=np.arange(5) % 3)
    with pytest.warns(DataWarning, match="class 2, but 1 validation and 1 test samples"):
        assert data.npz(path, validation_share=0.5).classes == tuple("012")


def test_a_flipped_bit_in_a_packed_npz_is_noticed(tmp_path: Path):
    plain = np.load(write_npz(tmp_path))
    np.savez_compressed(tmp_path / "packed.npz", **plain)
    content = bytearray((tmp_path / "packed.npz").read_bytes())
    content[len(content) // 4] ^= 0x10
    (tmp_path / "packed.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as an \.npz archive"):
        data.npz(tmp_path / "packed.npz")


def test_npz_damage_and_layouts_are_named(tmp_path: Path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 junk")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz archive"):
        data.npz(tmp_path / "bad.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"x_train": 1}))
    for name in ("one.npy", "pickle.npz"):
        with pytest.raises(DataError, match=r"an \.npz archive of plain arrays \(it is no zip"):
            data.npz(tmp_path / name)
    with pytest.raises(DataError, match='layout "CHW" is not known'):
        data.npz(write_npz(tmp_path), "CHW")


# missing paths


@pytest.mark.parametrize("read", [data.idx, data.npz, data.cifar10, data.speech_commands])
def test_a_missing_path_names_the_first_part_that_is_missing(tmp_path: Path, read):
    with pytest.raises(DataError, match=f"{tmp_path}/nowhere does not exist.*get the data"):
        read(tmp_path / "nowhere" / "deep" / "data")


def test_a_file_where_a_folder_belongs(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="not that kind of file"):
        data.cifar10(tmp_path / "file")


# CIFAR-10


def jpeg(colour: tuple[int, int, int], size: int = 32) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(stream, "JPEG", quality=95)
    return stream.getvalue()


few = pytest.mark.filterwarnings("ignore:.*no training sample:pruning.errors.DataWarning")


def write_jpegs(folder: Path, images: list[bytes] | None = None, **replaced: np.ndarray) -> Path:
    images = images or [jpeg((20 * n, 255 - 20 * n, 100)) for n in range(10)]
    for part in ("train", "test"):
        arrays = {
            "jpeg": np.frombuffer(b"".join(images), np.uint8),
            "offset": np.cumsum([0, *map(len, images)]),
            "label": np.arange(len(images), dtype=np.uint8),
        }
        np.savez(folder / f"cifar10-{part}-jpeg.npz", **{**arrays, **replaced})
    return folder


@few
def test_cifar10_jpegs_are_decoded(tmp_path: Path):
    made = data.cifar10(write_jpegs(tmp_path), validation=4)
    assert (made.name, made.input_shape) == ("cifar10-jpeg", (3, 32, 32))
    assert (len(made.train), len(made.validation), len(made.test)) == (6, 4, 10)
    assert made.classes[3] == "cat"
    for image, label in zip(made.test.inputs, made.test.targets.tolist(), strict=True):
        colour = torch.tensor([20 * label, 255 - 20 * label, 100])
        assert (image.flatten(1).float().mean(1) - colour).abs().max() < 4


@few
def test_cifar10_cache_gives_the_same_and_is_used(tmp_path: Path, monkeypatch):
    folder, cache = write_jpegs(tmp_path), tmp_path / "deep" / "cache"
    plain = data.cifar10(folder, validation=4)
    first = data.cifar10(folder, validation=4, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", lambda _: pytest.fail("decoded again"))
        second = data.cifar10(folder, validation=4, cache=cache)
    assert plain.digest == first.digest == second.digest
    assert sorted(path.suffix for path in cache.iterdir()) == [".npy", ".npy"]


@few
def test_cifar10_cache_follows_its_source(tmp_path: Path):
    folder, cache = write_jpegs(tmp_path), tmp_path / "cache"
    before = data.cifar10(folder, validation=4, cache=cache)
    write_jpegs(folder, [jpeg((10, 10 * n, 0)) for n in range(10)])
    after = data.cifar10(folder, validation=4, cache=cache)
    assert after.digest == data.cifar10(folder, validation=4).digest != before.digest


@few
def test_cifar10_damaged_cache_is_made_again(tmp_path: Path):
    folder, cache = write_jpegs(tmp_path), tmp_path / "cache"
    before = data.cifar10(folder, validation=4, cache=cache)
    for path, content in zip(sorted(cache.iterdir()), (b"", b"junk"), strict=True):
        path.write_bytes(content)
    assert data.cifar10(folder, validation=4, cache=cache).digest == before.digest


def test_cifar10_cache_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cache .*file cannot be written"):
        data.cifar10(write_jpegs(tmp_path), validation=4, cache=tmp_path / "file")


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"label": np.arange(10) / 10}, "label of .* is float64"),
        ({"label": np.eye(10, dtype=int)}, r"label of .* is int64 of shape \[10, 10\]"),
        ({"label": np.arange(10) + 1}, "run from . to 10; with 10 classes"),
        ({"offset": np.arange(11.0)}, "offset of .* is float64"),
        ({"labels": np.arange(10)}, None),
    ],
)
@few
def test_cifar10_labels_are_whole_numbers(tmp_path: Path, replaced, message):
    folder = write_jpegs(tmp_path, **replaced)
    if message is None:
        with pytest.warns(DataWarning, match="not used: labels"):
            data.cifar10(folder, validation=4)
        return
    with pytest.raises(DataError, match=message):
        data.cifar10(folder, validation=4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([jpeg((0, 0, 0)), b"not a picture"], "image 1 of .* is not a 32x32 JPEG"),
        ([jpeg((0, 0, 0)), jpeg((0, 0, 0))[:200]], "image 1 of .* is not a 32x32 JPEG"),
        ([jpeg((0, 0, 0), size=16)], "image 0 of .* is not a 32x32 JPEG"),
        ([jpeg((0, 0, 0)), b""], "do not fit together"),
    ],
)
def test_cifar10_damaged_jpegs_are_refused(tmp_path: Path, images, message):
    with pytest.raises(DataError, match=message):
        data.cifar10(write_jpegs(tmp_path, images), validation=1)


def write_binary(folder: Path) -> np.ndarray:
    records = np.random.default_rng(2).integers(0, 256, (6, 4, 3073), dtype=np.uint8)
    records[:, :, 0] %= 10
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, batch in zip(names, records, strict=True):
        (folder / f"{name}.bin").write_bytes(batch.tobytes())
    return records


@few
def test_cifar10_binary_version_is_read(tmp_path: Path):
    records = write_binary(tmp_path)
    made = data.cifar10(tmp_path, validation=5)
    assert (made.name, len(made.train), len(made.validation)) == ("cifar10", 15, 5)
    assert np.array_equal(made.test.inputs.numpy().reshape(4, -1), records[5, :, 1:])
    assert made.test.targets.tolist() == records[5, :, 0].tolist()
    train = {record[1:].tobytes() for record in records[:5].reshape(-1, 3073)}
    assert rows(made.train) | rows(made.validation) == train


def test_cifar10_damaged_batches_are_refused(tmp_path: Path):
    write_binary(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="12291 bytes, not a whole number of records of 3073"):
        data.cifar10(tmp_path, validation=5)


def test_cifar10_pickles_are_refused(tmp_path: Path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}q\x01.")
    with pytest.raises(DataError, match="a pickle, and never loaded"):
        data.cifar10(tmp_path)


@pytest.mark.exhaustive
def test_cifar10_jpeg_copy():
    made = data.cifar10(needs(SHARED / "cifar10"))
    assert (len(made.train), len(made.validation), len(made.test)) == (45_000, 5_000, 10_000)
    everything = torch.bincount(made.train.targets) + torch.bincount(made.validation.targets)
    assert everything.tolist() == [5000] * 10
    assert torch.bincount(made.test.targets).tolist() == [1000] * 10
    assert made.mean == pytest.approx((125.27, 122.93, 113.86), abs=0.2)


# speech


def write_speech(path: Path, **replaced: np.ndarray | None) -> Path:
    """Five words x 6 speakers x 2 takes; the words "yes" and "no" are the ones asked for."""
    label, speaker, _ = (grid.ravel() for grid in np.mgrid[:5, :6, :2])
    arrays = {
        "logmel": np.random.default_rng(3).integers(0, 256, (60, 7, 12), dtype=np.uint8),
        "scale": np.array([-14.0, 10.0]),
        "label": label,
        "words": np.array(["dog", "yes", "cat", "no", "bed"]),
        "split": np.array([0, 0, 0, 0, 1, 2])[speaker],
    }
    arrays = {**arrays, **replaced}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_clips_of_no_split_are_counted(tmp_path: Path, recwarn):
    path = write_speech(tmp_path / "s.npz", speaker=np.zeros(60), take=np.zeros(60))
    data.speech_commands(path, words=("yes", "no"))
    assert not recwarn.list  # speaker and take go with the format
    path = write_speech(tmp_path / "s.npz", split=np.arange(60) % 4)
    with pytest.warns(DataWarning, match="not used: 15 clips whose split is none of 0"):
        data.speech_commands(path, words=("yes", "no"))


def test_speech_splits_and_unknown_words(tmp_path: Path):
    path = write_speech(tmp_path / "s.npz")
    made = data.speech_commands(path, words=("yes", "no"))
    assert made.classes == ("yes", "no", "unknown")
    assert made.input_shape == (1, 7, 12)
    for split, each in ((made.train, 8), (made.validation, 2), (made.test, 2)):
        assert torch.bincount(split.targets).tolist() == [each] * 3
    stored = np.load(path)
    yes = stored["logmel"][(stored["label"] == 1) & (stored["split"] == 1)]
    assert rows(Split(made.validation.inputs[:2], made.validation.targets[:2])) == {
        clip.tobytes() for clip in yes
    }


def test_speech_unknown_takes_other_words_in_turn(tmp_path: Path):
    path = write_speech(tmp_path / "s.npz")
    made = data.speech_commands(path, words=("yes", "no"))
    stored = np.load(path)
    word_of = {
        clip.tobytes(): int(label)
        for clip, label in zip(stored["logmel"], stored["label"], strict=True)
    }
    unknown = made.train.inputs[made.train.targets == 2]
    drawn = [word_of[clip.numpy().tobytes()] for clip in unknown]
    assert sorted(drawn.count(label) for label in (0, 2, 4)) == [2, 3, 3]
    assert made.digest == data.speech_commands(path, words=("yes", "no")).digest


def test_speech_without_unknown(tmp_path: Path):
    path = write_speech(tmp_path / "s.npz")
    made = data.speech_commands(path, words=("cat", "yes", "bed"), unknown=False)
    assert made.classes == ("cat", "yes", "bed")
    assert torch.bincount(made.train.targets).tolist() == [8, 8, 8]


def test_speech_cepstra_are_a_cosine_transform(tmp_path: Path):
    path = write_speech(tmp_path / "s.npz")
    made = data.speech_commands(path, words=("yes", "no"), features="mfcc10")
    stored = np.load(path)
    clip = stored["logmel"][(stored["label"] == 1) & (stored["split"] == 0)][0]
    nepers = clip / 255 * 24.0 - 14.0
    bands = np.arange(12) + 0.5
    expected = [
        [
            np.sqrt((1 if k == 0 else 2) / 12) * (frame * np.cos(np.pi * k * bands / 12)).sum()
            for k in range(10)
        ]
        for frame in nepers
    ]
    assert made.input_shape == (1, 7, 10)
    assert made.train.inputs.dtype == torch.float32
    assert np.allclose(made.train.inputs[0, 0].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("replaced", "options", "message"),
    [
        ({}, {"words": ("yes", "maybe")}, "maybe cannot be used.*dog, yes, cat"),
        ({}, {"words": ("yes", "yes")}, "Name each once"),
        ({}, {"words": ("yess",)}, "bed. Did you mean yes[?]$"),
        ({}, {"words": ("yes",), "features": "mfcc"}, 'features "mfcc" are not known'),
        ({"label": np.full(60, 5)}, {"words": ("yes",)}, "a word for each label"),
        ({"split": np.zeros(59)}, {"words": ("yes",)}, "a word for each label"),
        ({"logmel": np.zeros((60, 7, 12))}, {"words": ("yes",)}, "logmel float64"),
        ({"split": np.zeros(60, int)}, {"words": ("yes",)}, "is empty"),
        ({"split": np.zeros(60)}, {"words": ("yes",)}, "split float64"),
        ({}, {}, r"other words than the usual ones: dog, yes.*\+data\.words="),
        ({"lable": np.zeros(60), "label": None}, {}, "lacks label"),
    ],
)
def test_speech_that_does_not_fit_is_refused(tmp_path: Path, replaced, options, message):
    with pytest.raises(DataError, match=message):
        data.speech_commands(write_speech(tmp_path / "s.npz", **replaced), **options)


@pytest.mark.parametrize(("features", "width"), [("logmel", 40), ("mfcc10", 10)])
def test_speech_commands_copy(features, width):
    path = needs(SHARED / "speech-commands-ar") / "asc-logmel-12000x49x40.npz"
    made = data.speech_commands(path, features=features)
    assert made.input_shape == (1, 49, width)
    assert made.classes[-1] == "unknown"
    for split, each in ((made.train, 180), (made.validation, 60), (made.test, 60)):
        assert torch.bincount(split.targets).tolist() == [each] * 11
