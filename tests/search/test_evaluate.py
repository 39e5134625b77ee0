"""Answers compared with the truth: against scikit-learn, and against the samples themselves."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import (
    confusion_matrix,
    mean_absolute_error,
    precision_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)
from torch import Tensor

from pruning.data import Dataset, Split, assemble, digits, digits_anomaly
from pruning.tasks import Task
from search.results.evaluate import evaluated
from search.results.samples import shown
from tracking.evaluation import Classification, Detection, Picture, Regression, Signal


def classes_of(data: Dataset, outputs: Tensor, split: Split | None = None) -> Classification:
    found = evaluated("validation", outputs, split or data.validation, data, Task())
    assert isinstance(found, Classification)
    return found


def logits(data: Dataset, seed: int = 0) -> Tensor:
    """Outputs on a grid of int8, with ties, that are right more often than not."""
    generator = torch.Generator().manual_seed(seed)
    targets = data.validation.targets
    noise = torch.randn(len(targets), len(data.classes), generator=generator)
    hint = torch.nn.functional.one_hot(targets, len(data.classes))
    return ((noise + 1.5 * hint) * 4).round() / 4


def pixels(picture: Picture) -> np.ndarray:
    """The values that a picture shows, in the sample's units."""
    levels = np.asarray(Image.open(io.BytesIO(picture.png)), dtype=float)
    return picture.low + levels / 255 * (picture.high - picture.low)


# --- classes


def test_classes_against_scikit_learn() -> None:
    data = digits()
    outputs = logits(data)
    found = classes_of(data, outputs)
    targets, answers = data.validation.targets, outputs.argmax(1)
    assert found.confusion == tuple(map(tuple, confusion_matrix(targets, answers).tolist()))
    np.testing.assert_allclose(found.recall, recall_score(targets, answers, average=None))
    np.testing.assert_allclose(found.precision, precision_score(targets, answers, average=None))
    assert found.classes == data.classes
    assert found.accuracy == Task().score(outputs, targets)
    assert (found.split, found.samples) == ("validation", len(targets))


def test_calibration_by_hand() -> None:
    data = digits()
    outputs = logits(data, 1)
    found = classes_of(data, outputs)
    confidences, answers = outputs.double().softmax(1).max(1)
    right = (answers == data.validation.targets).double()
    gap = 0.0
    for bin_ in found.calibration:
        inside = (confidences > bin_.lower) & (confidences <= bin_.upper)
        assert bin_.count == int(inside.sum())
        if bin_.count:
            assert bin_.accuracy == pytest.approx(right[inside].mean().item())
            assert bin_.confidence == pytest.approx(confidences[inside].mean().item(), abs=1e-5)
            gap += abs(float((right - confidences)[inside].sum()))
    assert sum(bin_.count for bin_ in found.calibration) == found.samples
    assert found.calibration_error == pytest.approx(gap / found.samples, abs=1e-5)


def test_the_worst_mistakes_are_the_most_confident_wrong_answers_with_their_samples() -> None:
    data = digits()
    outputs = logits(data, 2)
    found = classes_of(data, outputs)
    shares = outputs.double().softmax(1)
    confidences, answers = shares.max(1)
    wrong = [i for i in range(len(answers)) if answers[i] != data.validation.targets[i]]
    worst = sorted(wrong, key=lambda i: (-float(confidences[i]), i))[:20]
    assert len(wrong) > 20
    assert [mistake.index for mistake in found.mistakes] == worst
    for mistake in found.mistakes:
        assert mistake.target == data.validation.targets[mistake.index]
        assert mistake.answer == outputs[mistake.index].argmax()
        assert mistake.confidence == pytest.approx(float(confidences[mistake.index]), abs=1e-6)
        share = float(shares[mistake.index, mistake.target])
        assert mistake.probability == pytest.approx(share, rel=1e-5)
        assert isinstance(mistake.sample, Picture)
        sample = data.validation.inputs[mistake.index, 0].numpy()
        np.testing.assert_array_equal(np.rint(pixels(mistake.sample)), sample)


def test_a_perfect_network_makes_no_mistake() -> None:
    data = digits()
    outputs = 100.0 * torch.nn.functional.one_hot(data.validation.targets, 10)
    found = classes_of(data, outputs)
    assert (found.accuracy, found.mistakes, found.calibration_error) == (1.0, (), 0.0)


def test_an_output_without_a_class_may_be_the_answer() -> None:
    data = digits()
    outputs = torch.nn.functional.pad(logits(data), (0, 3), value=-100.0)
    assert classes_of(data, outputs).classes == data.classes
    outputs[5, 11] = 1000.0
    found = classes_of(data, outputs)
    assert found.classes == (*data.classes, "10", "11")
    assert found.accuracy == Task().score(outputs, data.validation.targets)
    assert found.mistakes[0].answer == 11


@pytest.mark.parametrize("outputs", [torch.zeros(359, 1), torch.full((359, 10), torch.nan)])
def test_answers_without_a_meaning_have_no_evaluation(outputs: Tensor) -> None:
    data = digits()
    assert evaluated("validation", outputs, data.validation, data, Task()) is None


# --- numbers


def numbers(count: int, values: int) -> tuple[Dataset, Tensor]:
    generator = torch.Generator().manual_seed(values)
    targets = torch.randn(count, values, generator=generator) * torch.tensor([1.0, 50.0])[:values]
    split = Split(torch.randn(count, 2, 40, generator=generator), targets)
    data = assemble("n", split, split, split, ["a", "b"][:values])
    noise = torch.randn(count, values, generator=generator)
    return data, targets + 0.3 * noise * targets.std(0) + 0.1


@pytest.mark.parametrize("values", [1, 2])
def test_numbers_against_scikit_learn(values: int) -> None:
    data, answers = numbers(900, values)
    found = evaluated("test", answers, data.test, data, Task())
    assert isinstance(found, Regression)
    targets = data.test.targets
    assert [one.name for one in found.numbers] == ["a", "b"][:values]
    for place, one in enumerate(found.numbers):
        ours, theirs = answers[:, place].double(), targets[:, place].double()
        error = root_mean_squared_error(theirs, ours)
        assert one.root_mean_square == pytest.approx(error, rel=1e-5)
        assert one.absolute == pytest.approx(mean_absolute_error(theirs, ours), rel=1e-5)
        assert one.bias == pytest.approx(float((ours - theirs).mean()), rel=1e-5)
        assert sum(one.histogram.counts) == 900
        assert len(one.points) <= 400 // values
        assert one.points[0] == pytest.approx((float(theirs[0]), float(ours[0])), rel=1e-5)
    scaled = (answers - targets).double() / targets.double().std(0, correction=0)
    order = scaled.square().sum(1).argsort(descending=True, stable=True)[:20].tolist()
    assert [miss.index for miss in found.misses] == order
    assert found.misses[0].targets == pytest.approx(targets[order[0]].tolist(), rel=1e-5)


# --- anomalies


def errors_of(split: Split, seed: int, apart: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.exp(torch.randn(len(split), generator=generator) * 0.7 + apart * split.targets)


def test_anomalies_against_scikit_learn() -> None:
    data, task = digits_anomaly(), Task(goal="inputs")
    errors = errors_of(data.validation, 0)
    found = evaluated("validation", errors, data.validation, data, task)
    assert isinstance(found, Detection)
    targets = data.validation.targets
    assert found.area == pytest.approx(roc_auc_score(targets, errors), rel=1e-5)
    assert found.anomalous == int(targets.sum())
    assert sum(found.normal_errors.counts) == int((targets == 0).sum())
    assert sum(found.anomalous_errors.counts) == found.anomalous
    for one in found.thresholds:
        called = errors.double() > one.error
        assert one.detected == pytest.approx(recall_score(targets, called))
        assert one.precision == pytest.approx(precision_score(targets, called))
        assert one.alarms == pytest.approx(float(called[targets == 0].double().mean()))
    chosen = next(one for one in found.thresholds if one.error == found.threshold)
    for error in errors.double().tolist():  # no threshold is better
        called = errors.double() > error
        gain = called[targets == 1].double().mean() - called[targets == 0].double().mean()
        assert gain <= (chosen.detected or 0) - (chosen.alarms or 0) + 1e-12
    assert sorted(one.alarms or 0 for one in found.thresholds if one is not chosen)[-1] <= 0.1


def test_thresholds_are_chosen_on_validation_and_judged_on_test() -> None:
    data, task = digits_anomaly(), Task(goal="inputs")
    known = evaluated("validation", errors_of(data.validation, 0), data.validation, data, task)
    errors = errors_of(data.test, 9, apart=0.2)
    found = evaluated("test", errors, data.test, data, task, known)
    assert isinstance(known, Detection)
    assert isinstance(found, Detection)
    assert found.threshold == known.threshold
    assert [one.error for one in found.thresholds] == [one.error for one in known.thresholds]
    wrong = (errors.double() > found.threshold) != (data.test.targets != 0)
    assert len(found.misjudged) == 20
    for one in found.misjudged:
        assert wrong[one.index]
        assert one.anomalous == bool(data.test.targets[one.index])
    ratios = [abs(np.log(one.error / found.threshold)) for one in found.misjudged]
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.parametrize("anomalous", [0, 1])
def test_a_split_of_one_kind_of_sample(anomalous: int) -> None:
    inputs = torch.rand(50, 1, 4, 4)
    normal = Split(inputs, torch.zeros(50, dtype=torch.int64))
    odd = Split(inputs, torch.full((50,), anomalous))
    data = assemble("one", normal, odd, odd, ["normal", "anomalous"])
    errors = torch.linspace(0.1, 5.0, 50)
    found = evaluated("validation", errors, data.validation, data, Task(goal="inputs"))
    assert isinstance(found, Detection)
    assert (found.area, found.anomalous) == (None, 50 * anomalous)
    assert found.threshold == max(one.error for one in found.thresholds)
    assert found.thresholds[0].detected == (None if not anomalous else pytest.approx(0.1))


# --- samples


def only(inputs: Tensor, index: int = 0) -> Any:
    (sample,) = shown(inputs, [index])
    return sample


def test_photographs_keep_their_values() -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    images[3] //= 3  # a dark one stays dark
    for index in (0, 3):
        picture = only(images, index)
        assert (picture.low, picture.high, picture.reduced) == (0.0, 255.0, 1)
        shown_values = np.asarray(Image.open(io.BytesIO(picture.png)))
        np.testing.assert_array_equal(shown_values, images[index].permute(1, 2, 0).numpy())


def test_spectra_are_drawn_between_their_extremes() -> None:
    spectra = torch.randn(2, 1, 49, 10)
    picture = only(spectra, 1)
    assert pixels(picture).shape == (49, 10)
    span = float(spectra[1].max() - spectra[1].min())
    np.testing.assert_allclose(pixels(picture), spectra[1, 0], atol=span / 255)


def test_large_images_are_reduced_by_means() -> None:
    images = torch.randint(0, 256, (1, 3, 97, 200), dtype=torch.uint8)
    picture = only(images)
    step = picture.reduced
    values = np.asarray(Image.open(io.BytesIO(picture.png)), dtype=float)
    assert values.size <= 1.2 * 3 * 32 * 32
    mean = images[0, :, :step, step : 2 * step].double().mean((1, 2)).numpy()
    np.testing.assert_allclose(values[0, 1], mean, atol=0.5 + 1e-9)
    assert values.shape[:2] == (-(-97 // step), -(-200 // step))


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 6, 5), (10, 6)), ((4, 6, 5), (20, 6)), ((12, 30), (30, 12))]
)
def test_other_planes_are_pictures_too(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    picture = only(torch.randn(1, *shape))
    assert Image.open(io.BytesIO(picture.png)).size == size


@pytest.mark.parametrize("shape", [(3, 80), (3, 80, 1), (3, 1, 80)])
def test_signals_are_lines(shape: tuple[int, ...]) -> None:
    inputs = torch.randn(2, *shape)
    signal = only(inputs, 1)
    assert (signal.length, signal.channels) == (80, 3)
    np.testing.assert_allclose(signal.series, inputs[1].reshape(3, 80), rtol=1e-3)


def test_a_long_signal_keeps_its_peaks() -> None:
    inputs = torch.randn(1, 1, 16000)
    inputs[0, 0, 7777] = 9.0
    inputs[0, 0, 7779] = -9.0
    signal = only(inputs)
    assert isinstance(signal, Signal)
    (line,) = signal.series
    assert (signal.length, len(line)) == (16000, 256)
    assert (max(line), min(line)) == (9.0, -9.0)
    assert line.index(9.0) < line.index(-9.0)
    assert abs(line.index(9.0) / 256 - 7777 / 16000) < 0.01
    assert set(line) <= {float(f"{value:.4g}") for value in inputs.flatten().tolist()}


def test_features_are_one_line() -> None:
    assert only(torch.arange(12.0).reshape(1, 12)).series == (tuple(map(float, range(12))),)
