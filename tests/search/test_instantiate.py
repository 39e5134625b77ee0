"""What a constructor is asked for before it is called, and what is said of one that fails."""

from collections.abc import Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import pytest

from search.config.instantiate import instantiated
from search.errors import ConfigError

HERE = __name__
CALLED: list[Any] = []


class Thing:
    def __init__(self, width: int, rate: float = 0.5, name: str | None = None) -> None:
        CALLED.append((width, rate, name))


def anything(**settings: Any) -> Thing:
    return Thing(1)


def lists(sizes: Sequence[int], kind: Literal["a", "b"] = "a", path: Path = Path()) -> Thing:
    return Thing(1)


def loose(width: int = 0.5) -> Thing:  # type: ignore[assignment]
    return Thing(1)


def wrapped(function: Any) -> Any:
    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@wrapped
def decorated(width: int) -> Thing:
    return Thing(width)


def failing(width: int) -> Thing:
    raise RuntimeError("no luck\nmore of it")


def thing(target: str, **settings: Any) -> Mapping[str, Any]:
    return {"_target_": f"{HERE}.{target}", **settings}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules[Thing.__module__])
    CALLED.clear()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (thing("Thing", widht=3), r"what\.widht: .*Thing takes no widht; it takes width, "),
        (thing("Thing"), r"Thing needs width; add \+what\.width=\.\.\."),
        (thing("decorated", wide=1), "takes no wide; it takes width"),
        (thing("Thing", width="3"), "what.width='3': .*expects a whole number$"),
        (thing("Thing", width=8.5), "what.width=8.5"),
        (thing("Thing", width=True), "what.width=True"),
        (thing("Thing", width=3, rate="fast"), "what.rate='fast': .*expects a number$"),
        (thing("Thing", width=3, name=5), "what.name=5: .*expects text or null$"),
        (thing("lists", sizes=3), "what.sizes=3: .*expects a list of which each is a whole"),
        (thing("lists", sizes=[3, "x"]), "what.sizes=.*expects a list"),
        (thing("lists", sizes=[3], kind=1), "what.kind=1: .*expects a or b$"),
        (thing("failing", width=3), r"what: .*failing raised RuntimeError: no luck$"),
        (thing("Thing", width=thing("failing", width="x")), "what.width.width='x'"),
        (thing("Thing", width=thing("failing", width=3)), "what.width: .*raised RuntimeError"),
        (thing("Thng", width=3), r"what\._target_=.*has no Thng; it has Thing"),
        ({"_target_": "nosuchmodule.Thing"}, "No module named 'nosuchmodule'"),
        ({"_target_": "builtins.dict"}, "gives a dict, not a Thing"),
        ({"width": 3}, "no _target_"),
    ],
)
def test_a_config_that_makes_nothing_is_refused(config: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        instantiated(config, Thing, "what")


@pytest.mark.parametrize("settings", [{"width": 3, "wdth": 3}, {}])
def test_what_lacks_or_is_unknown_is_refused_before_any_call(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"takes no wdth|needs width"):
        instantiated(thing("Thing", **settings), Thing, "what")
    assert not CALLED


@pytest.mark.parametrize(
    "config",
    [
        thing("Thing", width=3, rate=1, name=None),
        thing("Thing", width=8.0),  # hints of other people's are no promise
        thing("Thing", width=None),
        thing("Thing", _args_=[3]),
        thing("anything", whatever=3, width="x"),
        thing("lists", sizes=[1, 2], kind="c", path="somewhere"),
        thing("loose", width=0.7),
        thing("decorated", width=3),
    ],
)
def test_what_may_work_is_tried(config: Mapping[str, Any]) -> None:
    assert isinstance(instantiated(config, Thing, "what"), Thing)
