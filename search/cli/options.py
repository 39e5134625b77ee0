"""What many verbs ask for: one of a few words, a number, a place."""

from pathlib import Path

from omegaconf import DictConfig

from pruning.budget import Budget, Device
from pruning.deploy.backends.c_name import DEFAULT, checked_c_name
from pruning.export.formats import Format
from search.config.devices import device_from
from search.config.parse import one_budget, resolve_below
from search.config.places import local_folder
from search.config.schema import BudgetConfig, DeviceConfig
from search.config.validate import validated
from search.errors import ConfigError


def choose(value: str, name: str, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is not.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value}: write one of {', '.join(choices)}")
    return value


def trial_number(value: object) -> int:
    """The value, if it can be the number of a trial.

    Raises:
        ConfigError: it cannot.
    """
    if type(value) is not int:  # true is an int, too
        raise ConfigError(f"trial={value}: write the number of a trial, as paring front shows it")
    return value


def c_name(config: DictConfig, form: Format) -> str:
    """What all names of generated C begin with.

    Raises:
        DeployError: no name in C begins so. ConfigError: nothing is generated that it is for.
    """
    name = checked_c_name(config.name)
    if name != DEFAULT and not form.named:
        raise ConfigError(f"name={name}: it is for generated C; add format=c, or leave it out")
    return name


def wanted(config: DictConfig) -> tuple[Budget, Device | None]:
    """What a model must stay within, and for which device it is, where one is named.

    Raises:
        ConfigError: a device or a limit that cannot be.
    """
    budget = one_budget(validated(config.budget, BudgetConfig, "budget"))
    if config.device is None:
        return budget, None
    device = device_from(validated(config.device, DeviceConfig, "device"))
    return budget.intersect(device.budget), device


def place(out: object, config: DictConfig) -> Path:
    """Where to write: below the working folder, and not where studies are kept.

    Raises:
        ConfigError: it is another place.
    """
    path = resolve_below(Path.cwd(), out, "out")
    kept = local_folder(str(config.storage.folder))
    if path.is_relative_to(kept):
        raise ConfigError(f"out={out}: studies are kept below {kept}; choose a folder outside it")
    return path
