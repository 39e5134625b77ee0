"""Losses, metrics and optimizers against scikit-learn and sums done by hand."""

import dataclasses
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import nn

from pruning import data, models, tasks
from pruning.errors import PruningError

METRICS = {
    "accuracy": (tasks.Accuracy(), accuracy_score),
    "balanced_accuracy": (
        tasks.BalancedAccuracy(),
        lambda t, a: recall_score(
            t, a, labels=sorted(set(t)), average="macro", zero_division=0
        ),
    ),
    "macro_f1": (
        tasks.MacroF1(),
        lambda t, a: f1_score(t, a, average="macro", zero_division=0),
    ),
}

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


def logits(answers: list[int], classes: int = 5) -> torch.Tensor:
    return torch.eye(classes)[torch.tensor(answers)]


@pytest.mark.parametrize("name", METRICS)
@given(pairs=pairs)
def test_scores_agree_with_scikit_learn(name, pairs):
    metric, reference = METRICS[name]
    targets, answers = zip(*pairs, strict=True)
    score = metric(logits(list(answers)), torch.tensor(targets))
    assert metric.name == name
    assert isinstance(score, float)
    assert score == pytest.approx(reference(targets, answers))


@pytest.mark.parametrize("name", METRICS)
@given(targets=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_chance_is_the_score_of_the_best_constant_answer(name, targets):
    metric, _ = METRICS[name]
    true = torch.tensor(targets)
    constant = [metric(logits([c] * len(targets)), true) for c in sorted(set(targets))]
    assert metric.chance(true, 5) == pytest.approx(max(constant))


def test_scores_by_hand():
    outputs, targets = logits([0, 0, 0, 1], 2), torch.tensor([0, 0, 1, 1])
    assert tasks.Accuracy()(outputs, targets) == 0.75
    assert tasks.BalancedAccuracy()(outputs, targets) == 0.75
    assert tasks.MacroF1()(outputs, targets) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert tasks.Accuracy().chance(torch.tensor([0, 1, 1, 1]), 2) == 0.75
    assert tasks.MacroF1().chance(torch.tensor([0, 1, 1, 1]), 2) == pytest.approx(3 / 7)


def test_cross_entropy_by_hand():
    outputs, targets = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), torch.tensor([0, 1])
    plain = (math.log(2) + math.log(4)) / 2
    assert tasks.CrossEntropy()(outputs, targets).item() == pytest.approx(plain)
    weighted = (1 * math.log(2) + 3 * math.log(4)) / 4
    assert tasks.CrossEntropy(class_weights=[1, 3])(outputs, targets).item() == pytest.approx(
        weighted
    )
    half = (math.log(2) + 0.75 * math.log(4) + 0.25 * math.log(4 / 3)) / 2
    smooth = tasks.CrossEntropy(label_smoothing=0.5)(outputs, targets).item()
    assert smooth == pytest.approx(half)


def test_loss_of_half_precision_outputs_is_full_precision():
    outputs = torch.randn(4, 3).bfloat16()
    loss = tasks.CrossEntropy()(outputs, torch.tensor([0, 1, 2, 0]))
    assert loss.dtype == torch.float32
    assert loss.shape == ()


def test_balanced_weights_come_from_the_training_targets():
    targets = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    task = tasks.Task(loss=tasks.CrossEntropy(class_weights="balanced")).fitted(targets, 4)
    assert task.loss.class_weights == pytest.approx((10 / 24, 10 / 12, 10 / 4, 10 / 4))
    assert task.loss(torch.zeros(2, 4), torch.tensor([0, 2])).item() == pytest.approx(
        math.log(4)
    )


def test_fitting_leaves_other_losses_alone():
    targets = torch.tensor([0, 1])
    for loss in (nn.CrossEntropyLoss(), tasks.CrossEntropy(class_weights=(1.0, 2.0))):
        assert tasks.Task(loss=loss).fitted(targets, 2).loss is loss


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5"),
        ({"class_weights": "even"}, 'class_weights is "even"'),
        ({"class_weights": []}, "class_weights are"),
        ({"class_weights": [1, -1]}, "class_weights are"),
        ({"class_weights": [0, 0]}, "class_weights are"),
    ],
)
def test_impossible_losses_are_refused(options, message):
    with pytest.raises(PruningError, match=message):
        tasks.CrossEntropy(**options)


def test_weights_that_do_not_fit_the_outputs_are_refused():
    outputs, targets = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(PruningError, match="2 class_weights for 3 classes"):
        tasks.CrossEntropy(class_weights=[1, 2])(outputs, targets)
    with pytest.raises(PruningError, match=r"Use Task\.fitted"):
        tasks.CrossEntropy(class_weights="balanced")(outputs, targets)


@pytest.mark.parametrize("make", [tasks.sgd, tasks.adamw])
def test_no_decay_on_biases_and_batch_norm(make):
    model = models.resnet8(filters=8)
    named = dict(model.named_parameters())
    optimizer = make(lr=0.01, weight_decay=0.3)(named)
    decay = {
        id(tensor): group["weight_decay"]
        for group in optimizer.param_groups
        for tensor in group["params"]
    }
    assert len(decay) == len(named)
    for name, tensor in named.items():
        assert decay[id(tensor)] == (0.3 if tensor.ndim > 1 else 0.0), name
    assert all(group["lr"] == 0.01 for group in optimizer.param_groups)


def test_optimizer_of_vectors_alone():
    (group,) = tasks.sgd()({"gamma": torch.ones(3, requires_grad=True)}).param_groups
    assert group["weight_decay"] == 0.0


def test_decay_pulls_weights_and_spares_vectors():
    named = {"w": torch.ones(2, 2, requires_grad=True), "b": torch.ones(2, requires_grad=True)}
    optimizer = tasks.sgd(lr=1.0, momentum=0.0, weight_decay=0.25, nesterov=False)(named)
    for tensor in named.values():
        tensor.grad = torch.zeros_like(tensor)
    optimizer.step()
    assert torch.equal(named["w"], torch.full((2, 2), 0.75))
    assert torch.equal(named["b"], torch.ones(2))


def test_a_task_is_a_value():
    task = tasks.Task(optimizer=tasks.adamw(betas=[0.8, 0.99]))
    assert task == tasks.Task(optimizer=tasks.adamw(betas=(0.8, 0.99)))
    assert pickle.loads(pickle.dumps(task)) == task  # worker processes are spawned
    assert hash(task) == hash(tasks.Task(optimizer=tasks.adamw(betas=(0.8, 0.99))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.batch_size = 1


@dataclasses.dataclass(frozen=True)
class Perplexity:
    name: str = "perplexity"
    direction: str = "minimize"

    def __call__(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets).exp().item()

    def chance(self, targets, classes):  # noqa: ARG002
        return float(classes)


def test_any_part_can_be_replaced():
    task = tasks.Task(
        loss=nn.CrossEntropyLoss(),
        metric=Perplexity(),
        optimizer=lambda named: torch.optim.Adagrad(named.values()),
        augment=lambda batch, _: batch,
    )
    assert tasks.Task().rises
    assert not task.rises
    assert isinstance(task.optimizer({"w": torch.ones(1)}), torch.optim.Adagrad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size is 1"),
        ({"metric": Perplexity(direction="down")}, 'direction "down"'),
    ],
)
def test_impossible_tasks_are_refused(options, message):
    with pytest.raises(PruningError, match=message):
        tasks.Task(**options)


def test_resnet8_learns_the_digits():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    digits = data.digits()
    task = tasks.Task(optimizer=tasks.adamw(), augment=data.Augment(shift=1), batch_size=64)
    model = models.resnet8(in_channels=1).train()
    optimizer = task.optimizer(dict(model.named_parameters()))
    for _ in range(5):
        for inputs, targets in data.batches(digits.train, task.batch_size, generator):
            optimizer.zero_grad()
            outputs = model(task.augment(digits.normalise(inputs), generator))
            task.loss(outputs, targets).backward()
            optimizer.step()
    with torch.no_grad():
        outputs = model.eval()(digits.normalise(digits.validation.inputs))
    score = task.metric(outputs, digits.validation.targets)
    assert score > 0.85 > task.metric.chance(digits.validation.targets, 10)
