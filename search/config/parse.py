"""Single values of a config: names, budgets, flags, addresses, paths."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from omegaconf import DictConfig

from pruning.budget import Budget
from search.config.schema import BudgetConfig, CallConfig
from search.config.validate import selected
from search.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def call_from(config: DictConfig) -> CallConfig:
    """What a call asks for, checked.

    Raises:
        ConfigError: a value of another type, out of range, or an unfit name.
    """
    call = selected(config, CallConfig)
    checked_name(config.study)
    for name, least in (("trials", 1), ("workers", 1), ("threads", 0)):
        value = getattr(call, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: write a number of at least {least}")
    return call


def one_budget(config: BudgetConfig) -> Budget:
    """The single budget of `flash`, `sram` and `latency`."""
    return Budget.of(config.flash, config.sram, config.latency)


def checked_name(name: object, what: str = "study") -> str:
    """A name that is safe as a folder, an experiment and a database value.

    Raises:
        ConfigError: it could climb out of its folder, is empty or too long, or no text.
    """
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)  # study=2026
    if not isinstance(name, str) or not NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{what}={name!r}: use 1 to 100 letters a to z or A to Z, digits, '_', '-' or '.', "
            "beginning with a letter or digit"
        )
    return name


def flag(value: object, name: str) -> bool:
    """The value, if it is true or false: Hydra takes other words for text, which is true.

    Raises:
        ConfigError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value}: write true or false")
    return value


def http_address(url: str | None, setting: str) -> str | None:
    """The address of a web server, or None.

    Raises:
        ConfigError: it is none. The message does not repeat it: it may hold a secret.
    """
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        whole = parts.hostname and parts.port != 0 and url.isprintable() and " " not in url
    except (TypeError, ValueError, AttributeError):
        whole = False
    if not whole or parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"{setting}: not the address of a web server; write http://HOST:PORT or "
            "https://HOST, without spaces"
        )
    return url


def resolve_below(folder: Path, path: object, what: str) -> Path:
    """`path` below `folder`, absolute.

    Raises:
        ConfigError: it climbs out of the folder, is the folder itself, or no path.
    """
    root = folder.resolve()
    text = str(path)
    if path is None or not text.strip() or "\0" in text:
        raise ConfigError(f"{what}={path!r}: name a place below {root}")
    target = (root / text).resolve()
    if target == root or not target.is_relative_to(root):
        raise ConfigError(f"{what}={text!r} climbs out of {root}; name a place below it")
    return target
