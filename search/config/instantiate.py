"""Objects from configs. `_target_` names any importable class or function, and making it runs
that code: whoever writes the config decides what runs.
"""

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from pruning.errors import PruningError
from pruning.spelling import nearest
from pruning.tasks import OFFERED
from search.errors import ConfigError

Kind = TypeVar("Kind")
TARGET = "_target_"
HYDRAS = (TARGET, "_args_", "_partial_", "_convert_", "_recursive_")


def instantiated(config: Mapping[str, Any], kind: type[Kind], what: str) -> Kind:
    """What a config describes, checked to be of a kind. `what` names it in messages.

    Raises:
        ConfigError: no `_target_`, it cannot be imported or called, takes no such settings, or
            gives something else.
    """
    if TARGET not in config:
        raise ConfigError(f"{what}: no _target_; choose a {what} group or set {what}._target_")
    for path, node in _described(config, what):
        _require_fit(path, node)
    try:
        instantiated = instantiate(dict(config), _convert_="all")
    except InstantiationException as error:
        if ours := [each for each in _causes(error) if isinstance(each, PruningError)]:
            raise ours[0] from error  # it knows best what it needs
        _require_types(config, what)
        raise ConfigError(_failure(error, config, what)) from error
    _require_types(config, what)
    if not isinstance(instantiated, kind):
        raise ConfigError(
            f"{what}: {config[TARGET]} gives a {type(instantiated).__name__}, not a {kind.__name__}"
        )
    return instantiated


def parameters_of(target: object) -> Mapping[str, inspect.Parameter] | None:
    """What can be given by name to what a dotted name stands for; None where nobody knows, or
    anything can.
    """
    try:
        taken = inspect.signature(resolve_name(str(target))).parameters
    except Exception:  # the user's code may fail in any way; making it will tell how
        return None
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: each for name, each in taken.items() if each.kind in named}


def _described(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_`, by its dotted path."""
    if isinstance(value, Mapping):
        if TARGET in value:
            yield path, value
        for key, each in value.items():
            yield from _described(each, f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _described(each, f"{path}[{index}]")


def _require_fit(path: str, node: Mapping[str, Any]) -> None:
    """Refuse settings that a constructor does not take, or lacks."""
    if (taken := parameters_of(node[TARGET])) is None:
        return
    given = {key: value for key, value in node.items() if key not in HYDRAS}
    _require_taken(path, str(node[TARGET]), given, taken)
    if "_args_" not in node and not node.get("_partial_"):
        _require_complete(path, str(node[TARGET]), given, taken)


Given = Mapping[str, Any]
Taken = Mapping[str, inspect.Parameter]


def _require_taken(path: str, target: str, given: Given, taken: Taken) -> None:
    for key in [each for each in given if each not in taken]:
        offer = ", ".join(nearest(key, taken)) or "nothing"
        raise ConfigError(
            f"{path}.{key}: {target} takes no {key}; it takes {offer}. Rename it, or leave it "
            f"out with ~{path}.{key}"
        )


def _require_complete(path: str, target: str, given: Given, taken: Taken) -> None:
    required = [name for name, each in taken.items() if each.default is each.empty]
    if lacking := [name for name in required if name not in given]:
        cure = " ".join(f"+{path}.{name}=..." for name in lacking)
        raise ConfigError(f"{path}: {target} needs {', '.join(lacking)}; add {cure}")


def _require_types(config: Mapping[str, Any], what: str) -> None:
    """Refuse values of other types than constructors ask for, which fail there or later."""
    for path, node in _described(config, what):
        target, taken = str(node[TARGET]), parameters_of(node[TARGET]) or {}
        strict = target.startswith("pruning.")  # elsewhere hints may be less than exact
        hints = _hints(target) if taken else {}
        for name in [each for each in node if each in hints and each in taken]:
            hint, default = hints[name], taken[name].default
            trusted = default is inspect.Parameter.empty or _fits(default, hint, strict)
            if trusted and not _fits(node[name], hint, strict):
                raise ConfigError(
                    f"{path}.{name}={node[name]!r}: {target} expects {_in_words(hint)}"
                )


def _hints(target: str) -> Mapping[str, Any]:
    """The hints of a constructor that can be read: strings may name what is not there."""
    called = resolve_name(target)
    function = inspect.unwrap(called.__init__ if inspect.isclass(called) else called)
    known: dict[str, Any] = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        with contextlib.suppress(Exception):
            alone = SimpleNamespace(__annotations__={name: hint})
            known |= get_type_hints(alone, function.__globals__)
    return known


def _fits(value: object, hint: Any, strict: bool) -> bool:
    """Whether a value may be what a hint asks for: only plain types are judged. Unless
    `strict`, None is anything, and 8.0 a whole number.
    """
    origin, inner = get_origin(hint), [each for each in get_args(hint) if each is not ...]
    if isinstance(value, Mapping) or (value is None and not strict):
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, each, strict) for each in inner)
    if origin is Literal:
        return type(value) in map(type, inner)
    if hint in (int, float):
        whole = not strict and isinstance(value, float) and value.is_integer()
        return type(value) is int or whole or (hint is float and type(value) is float)
    if hint in (str, bool):
        return type(value) is hint or (hint is bool and type(value) is int)
    if origin in (Sequence, list, tuple):
        alike = len(set(inner)) == 1
        return isinstance(value, (list, tuple)) and all(
            _fits(each, inner[0], strict) for each in (value if alike else ())
        )
    if hint is type(None):
        return value is None
    plain = value is None or isinstance(value, (str, int, float, list))
    return hint is Any or not (strict and plain)


WORDS = {
    Path: "a path",
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}


def _in_words(hint: Any) -> str:
    origin, inner = get_origin(hint), [each for each in get_args(hint) if each is not ...]
    if origin in (Union, UnionType):
        return " or ".join(_in_words(each) for each in inner)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (Sequence, list, tuple):
        return f"a list of which each is {_in_words(inner[0])}"
    return "null" if hint is type(None) else WORDS.get(hint, f"an object, by a {TARGET}")


def _failure(error: InstantiationException, config: Mapping[str, Any], what: str) -> str:
    """What went wrong in the user's words: which code could not be found, or what it raised."""
    inside = re.search(r"full_key: (\S+)", str(error))
    path = f"{what}.{inside[1]}" if inside else what
    targets = {where: node[TARGET] for where, node in _described(config, what)}
    target = str(targets.get(path, config[TARGET]))
    if (cause := error.__cause__) is None:
        return f"{path}: {' '.join(str(error).partition('full_key:')[0].split())}"
    if "Error locating target" in str(error):
        return _not_there(path, target, list(_causes(error))[-1])
    said = next(iter(str(cause).splitlines()), "")
    return f"{path}: {target} raised {type(cause).__name__}: {said}"


def _not_there(path: str, target: str, cause: BaseException) -> str:
    owner, _, name = target.rpartition(".")
    asked = f"{path}.{TARGET}={target}"
    try:
        holder = resolve_name(owner)
    except Exception:
        return f"{asked}: {type(cause).__name__}: {cause}; looked here and among what is installed"
    role = path.rpartition(".")[2]
    own = [key for key, each in vars(holder).items() if _made_in(each, owner) and key[0] != "_"]
    public = getattr(holder, "__all__", own)
    if role in OFFERED and OFFERED[role] <= set(public):
        public = OFFERED[role]
    return f"{asked}: {owner} has no {name}; it has {', '.join(nearest(name, public)[:MANY])}"


def _made_in(value: object, module: str) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module


MANY = 12  # names that a message can hold


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, one after the other."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
