"""The methods of allocation that paring has, by name. Others are made by whoever brings them."""

from collections.abc import Mapping

from pruning.allocation.baselines import Greedy, Magnitude, Uniform
from pruning.allocation.differentiable import Differentiable
from pruning.allocation.method import Method
from pruning.errors import PruningError
from pruning.spelling import nearest

METHODS: Mapping[str, Method] = {
    "differentiable": Differentiable(),
    "greedy": Greedy(),
    "uniform": Uniform(),
    "magnitude": Magnitude(),
}


def method_named(name: str | Method) -> Method:
    """The method of a name; a method as it is.

    Raises:
        PruningError: there is none of that name, or it is no method.
    """
    if isinstance(name, Method):
        return name
    if name not in METHODS:
        raise PruningError(
            f"method {name!r}: write one of {', '.join(nearest(str(name), METHODS))}, or give a "
            f"{Method.__module__}.Method of your own"
        )
    return METHODS[name]


def name_of(method: Method) -> str:
    """The name of a method in METHODS, or that of its class."""
    names = (name for name, known in METHODS.items() if type(known) is type(method))
    return next(names, type(method).__name__)
