"""Every in-place form that torch has of an operator that is supported: right, or refused."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from pruning.errors import UnsupportedOperatorError
from pruning.execution.network import Network
from pruning.frontend.index_map import DATA_MOVEMENT
from pruning.frontend.trace import tensors_of, trace
from pruning.ops import CONVERTERS
from pruning.ops.fx_nodes import ALIASES
from tests.pruning.agreement import agree, masks, shrunk_as_masked

Form = torch._ops.OpOverload
# Forms whose functional form is not supported either.
REFUSED = (
    "clamp_.Tensor",
    "clamp_max_.Tensor",
    "clamp_min_.Tensor",
    "clip_.Tensor",
    "div_.Scalar_mode",
    "div_.Tensor_mode",
    "divide_.Scalar_mode",
    "divide_.Tensor_mode",
    "pow_.Tensor",
)
SETTINGS = {
    "alpha": 0.7, "approximate": "none", "dim": 3, "dim0": 2, "dim1": 3, "axis0": 2, "axis1": 3,
    "exponent": 1.5, "input_scale": 1, "max": 1.4, "max_val": 1.4, "min": 0.6, "min_val": 0.6,
    "negative_slope": 0.2, "p": 0.5, "scale": 1, "threshold": 1.1,
    "train": False, "value": 0.3,
}  # fmt: skip


def forms() -> Iterator[tuple[str, Form]]:
    """By name, of all operators that the engine knows by some name."""
    for base in sorted({name.split(".")[1] for name in (*CONVERTERS, *DATA_MOVEMENT, *ALIASES)}):
        packet = getattr(torch.ops.aten, f"{base}_", None)
        for overload in packet.overloads() if packet else ():
            form = getattr(packet, overload)
            if isinstance(form._schema.arguments[0].type, torch.TensorType):
                yield f"{base}_.{overload}", form


FORMS = dict(forms())


def settings(form: Form, value: Tensor) -> tuple[list[object], dict[str, str]]:
    """What to call a form with besides what it overwrites: numbers, or a value of the net."""
    arguments = form._schema.arguments[1:]
    names = {argument.name for argument in arguments}
    given: list[object] = []
    for argument in arguments:
        if isinstance(argument.type, torch.TensorType) or "Optional[T" in str(argument.type):
            given.append(value.sigmoid())
        elif argument.name == "other":
            given.append(1.25)
        elif not argument.kwarg_only and not (argument.name == "alpha" and "other" in names):
            number = SETTINGS[argument.name]
            given.append([number] if isinstance(argument.type, torch.ListType) else number)
    return given, {"rounding_mode": "floor"} if "rounding_mode" in names else {}


class Overwriting(nn.Module):
    """Positive maps (4, 3, 1), each of which is overwritten and then used in its own way."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.first = nn.ModuleList(nn.Conv2d(2, 4, (1, 3)) for _ in USES)
        self.last = nn.ModuleList(nn.Linear(12, 3) for _ in USES)

    def overwrite(self, value: Tensor) -> Tensor:
        given, named = settings(self.form, value)
        return self.form(value, *given, **named)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for first, last, use in zip(self.first, self.last, USES, strict=True):
            parts = use(first(x).exp(), self.overwrite)
            outputs.append(last(sum(part.flatten(1) for part in parts)))
        return torch.cat(outputs, 1)


Overwrite = Callable[[Tensor], Tensor]


def result(value: Tensor, overwrite: Overwrite) -> list[Tensor]:
    return [overwrite(value)]


def argument(value: Tensor, overwrite: Overwrite) -> list[Tensor]:
    overwrite(value)
    return [value]


def another_name(value: Tensor, overwrite: Overwrite) -> list[Tensor]:
    same = value.contiguous()
    overwrite(value)
    return [value, same]


def copied(value: Tensor, overwrite: Overwrite) -> list[Tensor]:
    before = value.clone()
    overwrite(value)
    return [value, before]


def moved(value: Tensor, overwrite: Overwrite) -> list[Tensor]:
    return [overwrite(value.flip(2))]


USES = (result, argument, another_name, copied, moved)


@pytest.mark.parametrize("name", sorted(FORMS.keys() - {*REFUSED}))
def test_every_in_place_form_computes_what_the_module_does(name):
    torch.manual_seed(0)
    model = Overwriting(FORMS[name]).eval()
    graph = agree(model, 2, 3, 3, batches=(2, 3))  # of one sample, squeeze_ squeezes the batch
    network = Network(graph, tensors_of(model)).eval()
    for seed in range(2):
        shrunk_as_masked(network, masks(graph, seed))


@pytest.mark.parametrize("name", REFUSED)
def test_forms_of_operators_that_are_not_supported_are_refused(name):
    with pytest.raises(UnsupportedOperatorError, match="an unknown operator"):
        trace(Overwriting(FORMS[name]), torch.zeros(2, 3, 3))


def test_a_dropout_in_place_drops_while_training():
    model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5, inplace=True), nn.Linear(64, 2))
    graph = trace(model, torch.zeros(8))
    (drop,) = (o for o in graph.operators if o.kind == "dropout")
    assert drop.attributes == {"p": 0.5, "channels": False}
    network, batch = Network(graph, tensors_of(model)).train(), torch.ones(1, 8)
    assert not torch.equal(network(batch), network(batch))


def test_a_function_with_settings_that_are_not_computed_is_refused():
    def function(x):
        return torch.ops.aten.elu_(x, 1.0, 2.0, 1.0)

    class Steep(nn.Module):
        def forward(self, x):
            return function(x * 2)

    with pytest.raises(UnsupportedOperatorError, match=r"'scale': 2\.0"):
        trace(Steep(), torch.zeros(2, 3, 3))
