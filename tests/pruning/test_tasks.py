"""Losses, metrics and optimizers against scikit-learn and sums done by hand."""

import dataclasses
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from torch import nn

from pruning import data, models, tasks
from pruning.errors import PruningError


def balanced_accuracy(targets: Sequence[int], answers: Sequence[int]) -> float:
    """The share found of each class that occurs among the targets, on average."""
    pairs = list(zip(targets, answers, strict=True))
    return fmean(pairs.count((c, c)) / targets.count(c) for c in set(targets))


def macro_f1(targets: Sequence[int], answers: Sequence[int]) -> float:
    """2 tp / (2 tp + fp + fn) of each class among targets and answers, on average."""
    pairs = list(zip(targets, answers, strict=True))
    return fmean(
        2 * pairs.count((c, c)) / (targets.count(c) + answers.count(c))
        for c in {*targets, *answers}
    )


METRICS = {
    "accuracy": (tasks.Accuracy(), accuracy_score),
    "balanced_accuracy": (tasks.BalancedAccuracy(), balanced_accuracy),
    "macro_f1": (tasks.MacroF1(), macro_f1),
}

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


def logits(answers: list[int], classes: int = 5) -> torch.Tensor:
    return torch.eye(classes)[torch.tensor(answers)]


@pytest.mark.parametrize("name", METRICS)
@given(pairs=pairs)
def test_scores_agree_with_their_definitions(name, pairs):
    metric, reference = METRICS[name]
    targets, answers = zip(*pairs, strict=True)
    score = metric(logits(list(answers)), torch.tensor(targets))
    assert metric.name == name
    assert isinstance(score, float)
    assert score == pytest.approx(reference(targets, answers), rel=0, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
@given(targets=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_chance_is_the_score_of_the_best_constant_answer(name, targets):
    metric, _ = METRICS[name]
    true = torch.tensor(targets)
    constant = [metric(logits([c] * len(targets)), true) for c in sorted(set(targets))]
    assert metric.chance(true, 5) == pytest.approx(max(constant))


# --- regression

REGRESSION = {
    "rmse": (tasks.RootMeanSquare(), root_mean_squared_error),
    "mae": (tasks.MeanAbsolute(), mean_absolute_error),
    "r2": (tasks.Determination(), r2_score),
}
numbers = st.floats(-100, 100, width=32)
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(
        st.tuples(*[st.tuples(numbers, numbers)] * width), min_size=2, max_size=20
    )
)


@pytest.mark.parametrize("name", REGRESSION)
@given(table=tables)
def test_regression_scores_agree_with_scikit_learn(name, table):
    metric, reference = REGRESSION[name]
    both = torch.tensor(table)  # [N, values, 2]
    ours, theirs = both[..., 0], both[..., 1]
    theirs[0, :] = theirs[1, :] + 1  # so that every value varies
    wanted = reference(theirs.double(), ours.double())
    if name == "rmse":  # scikit-learn takes the mean of the values' roots
        wanted = (ours.double() - theirs.double()).square().mean().sqrt().item()
    assert metric(ours, theirs) == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    assert (metric.name, metric.direction == "maximize") == (name, name == "r2")
    if theirs.shape[1] == 1:
        assert metric(ours, theirs[:, 0]) == metric(ours, theirs)


@pytest.mark.parametrize("name", REGRESSION)
@given(values=st.lists(numbers, min_size=2, max_size=20))
def test_no_constant_answer_beats_chance(name, values):
    metric, _ = REGRESSION[name]
    targets = torch.tensor([*values, max(values) + 1])
    chance = metric.chance(targets, 1)
    sign = 1 if metric.direction == "maximize" else -1
    scores = [
        metric(torch.full((len(targets), 1), answer), targets)
        for answer in (*targets.tolist(), targets.mean().item())
    ]
    assert sign * chance >= max(sign * score for score in scores) - 1e-3
    assert name != "r2" or chance == pytest.approx(0, abs=1e-9)


def test_regression_losses_by_hand():
    outputs, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 1.0])
    assert tasks.Squared()(outputs, targets).item() == (1 + 9) / 2
    assert tasks.Absolute()(outputs, targets).item() == (1 + 3) / 2
    assert tasks.Huber(delta=2.0)(outputs, targets).item() == (0.5 + 2 * (3 - 1)) / 2
    assert tasks.Squared()(outputs.bfloat16(), targets).dtype == torch.float32
    with pytest.raises(PruningError, match="delta is 0"):
        tasks.Huber(delta=0)


def test_nothing_is_broadcast_in_silence():
    """[N, 1] against [N] would give a table of all differences."""
    with pytest.raises(PruningError, match="gives 2 values a sample, but 1 are wanted"):
        tasks.Squared()(torch.zeros(3, 2), torch.zeros(3))


OUTPUTS = torch.zeros(2, 1)


@pytest.mark.parametrize(
    ("judge", "arguments", "cure"),
    [
        (tasks.CrossEntropy(), (OUTPUTS, torch.zeros(2)), "task=regression"),
        (tasks.Accuracy().chance, (torch.zeros(2), 2), "task=regression"),
        (tasks.RocAuc(), (OUTPUTS, torch.zeros(2)), "task=regression"),
        (tasks.Squared(), (OUTPUTS, torch.zeros(2).long()), "task=classification"),
        (tasks.RootMeanSquare().chance, (torch.zeros(2).long(), 2), "task=classification"),
    ],
)
def test_targets_of_another_kind_are_refused(judge, arguments, cure):
    with pytest.raises(PruningError, match=cure):
        judge(*arguments)


# --- reconstruction

amounts = st.one_of(  # many ties, or hardly any
    st.integers(0, 6).map(lambda number: number / 8), st.floats(0, allow_nan=False, width=32)
)
labelled = st.lists(st.tuples(amounts, st.integers(0, 1)), min_size=2, max_size=30)


@given(pairs=labelled.filter(lambda pairs: {label for _, label in pairs} == {0, 1}))
def test_roc_auc_is_how_often_an_anomaly_has_the_larger_error(pairs):
    anomalous = [error for error, label in pairs if label]
    normal = [error for error, label in pairs if not label]
    above = [(a > n) + (a == n) / 2 for a in anomalous for n in normal]
    errors, labels = map(torch.tensor, zip(*pairs, strict=True))
    score = tasks.RocAuc()(errors.float(), labels)
    assert isinstance(score, float)
    assert score == pytest.approx(fmean(above), rel=0, abs=1e-12)
    assert tasks.RocAuc().chance(labels, 2) == 0.5


def test_an_error_that_is_no_number_is_the_largest():
    errors = torch.tensor([1.0, float("inf"), float("nan"), float("nan")])
    assert tasks.RocAuc()(errors, torch.tensor([0, 0, 1, 1])) == 1.0
    assert tasks.RocAuc()(errors, torch.tensor([1, 1, 0, 0])) == 0.0


@pytest.mark.slow
def test_scikit_learn_is_loaded_by_its_metrics_alone():
    """It takes a second or two, which other processes of a sweep need not spend."""
    script = (
        "import sys; from pruning import tasks; tasks.Task(); print('sklearn' in sys.modules);"
        "tasks.{}(); print('sklearn' in sys.modules)"
    )
    for name in ("BalancedAccuracy", "MacroF1", "RocAuc"):
        command = [sys.executable, "-c", script.format(name)]
        assert subprocess.check_output(command, text=True) == "False\nTrue\n"
    with pytest.raises(AttributeError, match="has no attribute 'F1'"):
        tasks.F1  # noqa: B018


def test_roc_auc_needs_both_kinds():
    with pytest.raises(PruningError, match=r"there are \[1\]"):
        tasks.RocAuc()(torch.zeros(2), torch.ones(2).long())
    with pytest.raises(PruningError, match="no errors, one a sample"):
        tasks.RocAuc()(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_the_mean_error_is_that_of_normal_samples():
    errors = torch.tensor([1.0, 5.0, 2.0])
    assert tasks.MeanError()(errors, torch.tensor([0, 1, 0])) == 1.5
    with pytest.raises(PruningError, match="no sample of target 0"):
        tasks.MeanError()(errors, torch.ones(3).long())


def test_the_error_of_the_mean_input_is_one():
    made = data.digits_anomaly()
    clean = made.normalise(made.train.inputs)
    errors = tasks.Task(goal="inputs").answers(torch.zeros(len(clean), 64), clean)
    score = tasks.MeanError()(errors, made.train.targets)
    assert score == pytest.approx(tasks.MeanError().chance(made.train.targets, 2), abs=1e-5)


def test_what_a_task_compares():
    inputs, targets = torch.randn(3, 1, 2, 2), torch.tensor([0, 0, 1])
    outputs = inputs.flatten(1) + torch.tensor([[0.0], [1.0], [2.0]])
    back = tasks.Task(loss=tasks.Squared(), metric=tasks.RocAuc(), goal="inputs")
    assert back.aim(inputs, targets) is inputs
    assert back.answers(outputs, inputs).tolist() == pytest.approx([0, 1, 4])
    plain = tasks.Task()
    assert plain.aim(inputs, targets) is targets
    assert plain.answers(outputs, inputs) is outputs
    with pytest.raises(PruningError, match="gives 3 values a sample, but 4 are wanted"):
        back.answers(torch.zeros(3, 3), inputs)


def test_anomalies_in_training_are_refused():
    task = tasks.Task(metric=tasks.RocAuc(), goal="inputs")
    assert task.fitted(torch.zeros(4).long(), 2) == task
    with pytest.raises(PruningError, match="2 of the 4 training samples are anomalous"):
        task.fitted(torch.tensor([0, 1, 1, 0]), 2)


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
    assert task.loss.class_weights == pytest.approx((10 / 18, 10 / 9, 10 / 3, 0))
    assert task.loss(torch.zeros(2, 4), torch.tensor([0, 2])).item() == pytest.approx(math.log(4))


def test_a_class_that_never_occurs_pulls_nothing():
    loss = tasks.CrossEntropy(label_smoothing=0.1, class_weights="balanced")
    outputs = torch.zeros(2, 3, requires_grad=True)
    loss.fitted(torch.tensor([0, 1, 1]), 3)(outputs, torch.tensor([0, 1])).backward()
    assert outputs.grad[:, 2].min() > 0  # its logits fall


def test_a_batch_that_weighs_nothing_has_no_loss():
    loss = tasks.CrossEntropy(class_weights=torch.tensor([1.0, 0.0]))
    assert loss(torch.zeros(2, 2), torch.tensor([1, 1])).item() == 0


def test_outputs_that_are_no_logits_of_the_classes_are_refused():
    with pytest.raises(PruningError, match=r"gives \[3, 2\] a sample"):
        tasks.CrossEntropy()(torch.zeros(1, 3, 2), torch.zeros(1, dtype=torch.long))
    for shape in ((3,), (4, 2)):
        with pytest.raises(PruningError, match=r"4 classes need one logit each"):
            tasks.Task().require_shape(shape, 4)
    tasks.Task().require_shape((5,), 4)
    tasks.Task(loss=tasks.Squared()).require_shape((3,), 4)


def test_an_anomaly_metric_wants_a_reconstruction():
    with pytest.raises(PruningError, match="task=reconstruction"):
        tasks.Task(metric=tasks.RocAuc()).fitted(torch.tensor([0, 1]), 2)


def test_no_momentum_is_no_nesterov():
    weight = nn.Parameter(torch.ones(2, 2))
    (group,) = tasks.sgd(momentum=0.0)({"weight": weight}).param_groups
    assert not group["nesterov"]


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


@dataclasses.dataclass(frozen=True)
class Told:
    """A metric that gives the one output there is."""

    direction: str
    best: object
    name: str = "told"

    def __call__(self, outputs, targets):  # noqa: ARG002
        return outputs.item()


@pytest.mark.parametrize(
    ("direction", "best", "score", "beyond"),
    [
        ("maximize", 60.0, 59.0, False), ("maximize", 60.0, 61.0, True),
        ("maximize", 60, float("inf"), True), ("maximize", 60.0, -5.0, False),
        ("minimize", 2.0, 2.5, False), ("minimize", 2.0, 1.0, True),
        ("minimize", 2.0, float("-inf"), True), ("minimize", 0.0, -0.5, True),
    ],
)  # fmt: skip
def test_a_score_beyond_the_best_possible_is_an_error(direction, best, score, beyond):
    task, answers = tasks.Task(metric=Told(direction, best)), torch.tensor(score).double()
    assert task.best == best
    if beyond:
        with pytest.raises(PruningError, match=rf"metric told gives {score}, beyond .* {best}"):
            task.score(answers, answers)
    else:
        assert task.score(answers, answers) == score


def test_a_score_that_is_better_by_rounding_is_the_best():
    task = tasks.Task(metric=Told("maximize", 1.0))
    assert task.score(torch.tensor(1 + 1e-9, dtype=torch.float64), torch.zeros(1)) == 1.0


def test_a_metric_of_an_earlier_version_is_not_bounded():
    task = tasks.Task(metric=Perplexity())
    assert task.score(torch.zeros(2, 4), torch.tensor([0, 1])) == pytest.approx(4)
    with pytest.raises(PruningError, match=r"perplexity .* is None; give it an attribute"):
        assert task.best


@pytest.mark.parametrize("metric", [*METRICS.values(), *REGRESSION.values()])
def test_no_built_in_metric_goes_beyond_its_best(metric):
    judge = metric[0]
    targets = torch.tensor([0, 1, 2, 1])
    perfect = logits([0, 1, 2, 1]) if judge.name in METRICS else targets.float()
    score = judge(perfect, targets if judge.name in METRICS else targets.float())
    assert score == pytest.approx(judge.best)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size is 1"),
        ({"metric": Perplexity(direction="down")}, 'direction "down"'),
        ({"goal": "outputs"}, 'goal is "outputs"'),
    ],
)
def test_impossible_tasks_are_refused(options, message):
    with pytest.raises(PruningError, match=message):
        tasks.Task(**options)


@pytest.mark.slow
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
