"""The one crossing from YAML to Python: values come from `conf/`, their shape is defined here.

Hydra needs mutable dataclasses as schemas; everything behind this module is frozen.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from pruning.budget import Budget, parse_limit
from pruning.spelling import meant, nearest
from search.errors import ConfigError

Values = dict[str, Any]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass
class DeviceConfig:
    """A microcontroller. Sizes are bytes or text such as "128 KiB"."""

    name: str = "???"
    core: str = "???"
    clock_hz: float = 1e8
    cycles_per_instruction: float = 1.0
    flash: Any = "???"
    sram: Any = "???"
    reserved_flash: Any = 0
    reserved_sram: Any = 0
    source: str = "assumed"
    loops: dict[str, list[float]] = field(default_factory=dict)
    flash_margin: Any = 0
    latency_margin: Any = 0


@dataclass
class PhasesConfig:
    """How long and how fast: dense once per study, prune and fine-tune once per slot."""

    dense_epochs: int = 20
    warmup_epochs: int = 1
    prune_epochs: int = 8
    finetune_epochs: int = 8
    rate: float = 0.5
    qat_share: float = 0.0


@dataclass
class MethodConfig:
    """The pruning method and its settings (see `pruning.training.job.Pruning`)."""

    name: str = "differentiable"
    power: float = 0.5
    trust: float = 0.5
    vanish: bool = True
    every: int = 10
    probes: int = 6
    probe_samples: int = 1024
    race: float = 0.05
    racers: int = 2
    memory: float = 0.9
    settle: float = 0.9
    remove_every: int = 60
    slack: float = 0.1
    phases: PhasesConfig = field(default_factory=PhasesConfig)


@dataclass
class BudgetConfig:
    """A list of budgets, or for `pick` one.

    kind "ladder": every factor in `scale` times the dense cost, resource by resource with its
    exponent in `power` (0 leaves a resource unlimited). kind "grid": all combinations of the
    values in `flash`, `sram`, `latency`. kind "range": each of them is [loosest, tightest] and
    `count` budgets are spread geometrically, all resources together.
    """

    kind: str = "ladder"
    scale: list[float] = field(default_factory=list)
    power: dict[str, float] = field(default_factory=dict)
    count: int = 8
    flash: Any = None
    sram: Any = None
    latency: Any = None


@dataclass
class StoppingConfig:
    """When slots end early (see `search.study.pruner`): not at all without rungs."""

    rungs: list[float] = field(default_factory=list)
    margin: float = 0.02
    fewest: int = 4


@dataclass
class AcceleratorConfig:
    """Where torch runs. `threads` 0 means cores / workers."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 0


@dataclass
class StorageConfig:
    """Where studies live. `url` is null for SQLite files in `folder`.

    `tracking_uri` names an MLflow server; null writes to MLflow's database directly.
    `heartbeat_s` and `grace_s`: how often a worker says that it lives, and after how long a
    silence its slot goes to another. `checkpoint_s`: least time between two checkpoints of a
    training run; 0 stores one after every epoch. `outage_s`: how long workers wait for a
    database, or a disk, that is out of reach.
    """

    folder: str = ".paring"
    url: str | None = None
    schema: str = "paring"
    tracking_uri: str | None = None
    heartbeat_s: int = 5
    grace_s: int = 60
    checkpoint_s: float = 10.0
    outage_s: float = 3600.0


@dataclass
class SpecConfig:
    """What decides the result of a sweep.

    `seeds`: so many slots of a budget share their hyperparameters and differ in their seeds;
    null gives every slot of a budget its own of both. `precision` is how the int8 network is
    scored: "auto" is exact for networks that can be deployed (studies from before were not).
    `target` is the form that every network must have: "any", "c" or "tflite".
    """

    model: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    fresh: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    least: dict[str, int] | None = None
    align: int = 1
    data: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    space: dict[str, Any] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    objectives: list[str] = field(default_factory=list)
    continuation: bool = False
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    precision: str = "int8-simulated"
    target: str = "any"
    accelerator: AcceleratorConfig = field(default_factory=AcceleratorConfig)
    seed: int = 0
    seeds: int | None = None
    trials: int | None = None


@dataclass
class CallConfig:
    """What a call asks for besides the study's spec; nothing here decides a result.

    `threads` 0 means cores / workers.
    """

    study: str = "???"
    trials: int | None = None
    workers: int = 1
    threads: int = 0


Shape = TypeVar("Shape")


def cross(config: Any, shape: type[Shape], what: str) -> Shape:
    """A composed config as an instance of a dataclass; keys of its fields only.

    Raises:
        ConfigError: a missing, unknown or mistyped value, named by its path.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(shape), config)
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise ConfigError(
                f"{what}: no value for {', '.join(missing)}; give it on the command line"
            )
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{what}: {_told(error)}") from error
    if not isinstance(result, shape):
        raise ConfigError(f"{what}: {result!r} is no group of settings; write KEY=VALUE pairs")
    return result


def _told(error: OmegaConfBaseException) -> str:
    """The first line of an error, with the path of the value."""
    line, path, parent = str(error).splitlines()[0], error.full_key, error.parent_node
    if isinstance(error, ConfigKeyError) and isinstance(parent, DictConfig):
        known = ", ".join(nearest(str(error.key), map(str, parent)))
        return f"there is no setting '{path or error.key}'; there are {known}"
    if "is not a ListConfig" in line or "is not a list" in line:
        line = "write a list, such as [a,b]"
    if line.startswith("Cannot assign") and "Dict[" in line:
        line = "write a mapping, such as {stem: 8}"
    if whole := re.match(r"Value (\S+) \(int\) is incompatible with type hint 'float'", line):
        line = f"write {whole[1]}.0 for {whole[1]}"
    return f"{path}: {line}" if path and path not in line else line


def part(config: DictConfig, shape: type[Shape]) -> Shape:
    """The fields of `shape` out of a larger config, interpolations resolved."""
    try:
        values = _resolved(config)
    except OmegaConfBaseException as error:
        raise ConfigError(f"config: {_told(error)}") from error
    fields = shape.__dataclass_fields__  # type: ignore[attr-defined]
    chosen = {name: value for name, value in values.items() if name in fields}
    return cross(OmegaConf.create(chosen), shape, "config")


def _resolved(config: DictConfig) -> dict[str, Any]:
    """All values below a config, interpolations resolved.

    Raises:
        ConfigError: it is a list.
    """
    values = OmegaConf.to_container(config, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError(f"config: {values!r} is no group of settings; write KEY: VALUE lines")
    return {str(key): value for key, value in values.items()}


@dataclass(frozen=True, slots=True)
class Spec:
    """The resolved configuration of a study: JSON values, no secrets."""

    values: Mapping[str, Any]

    @staticmethod
    def from_config(config: DictConfig) -> "Spec":
        """Validate what decides a sweep's result out of a composed config."""
        values = asdict(part(config, SpecConfig))
        _require_finite(values, "")
        return Spec(json.loads(json.dumps(values, default=str)))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def typed(self) -> SpecConfig:
        """The values as attributes."""
        return cross(OmegaConf.create(dict(self.values)), SpecConfig, "study")

    def yaml(self) -> str:
        """The values as YAML text."""
        return OmegaConf.to_yaml(OmegaConf.create(dict(self.values)), sort_keys=True)

    def replaced(self, params: Mapping[str, Any]) -> "Spec":
        """The spec with the values at dotted paths replaced.

        Raises:
            ConfigError: a path that does not exist in the spec.
        """
        tree = OmegaConf.create(dict(self.values))
        for path, value in params.items():
            above, _, key = path.rpartition(".")
            node = OmegaConf.select(tree, above) if above else tree
            if not isinstance(node, DictConfig) or key not in node:
                right = meant(path, [name for name, _ in leaves(self.values)])
                raise ConfigError(
                    f"space: {path!r} is no setting of this study; write the path of a value, "
                    f"such as {right or 'task.optimizer.lr'}"
                )
            OmegaConf.update(tree, path, value)
        return Spec(_resolved(tree))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested mappings that is none itself, by its dotted path."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, f"{path}.{key}" if path else str(key))


def _require_finite(value: Any, path: str) -> None:
    """Refuse NaN and infinity anywhere in a config."""
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"config: {path}={value}: write a finite number")
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, each in value.items():
            _require_finite(each, f"{path}.{key}" if path else str(key))


def call_from(config: DictConfig) -> CallConfig:
    """What a call asks for, checked.

    Raises:
        ConfigError: a value of another type, out of range, or an unfit name.
    """
    call = part(config, CallConfig)
    checked_name(config.study)
    for name, least in (("trials", 1), ("workers", 1), ("threads", 0)):
        value = getattr(call, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: at least {least}")
    return call


def one_budget(config: BudgetConfig) -> Budget:
    """The single budget of `flash`, `sram` and `latency`."""
    given = {
        "flash_bytes": config.flash,
        "sram_bytes": config.sram,
        "latency_ms": config.latency,
    }
    limits = {name: parse_limit(name, text) for name, text in given.items() if text is not None}
    return Budget(**limits)  # type: ignore[arg-type]


def margin_from(value: Any) -> float:
    """The share of an estimate by which more may be measured: "10%" or 0.1.

    Raises:
        ConfigError: not from 0 up to, and without, 1.
    """
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise ConfigError(f"margin={value}: a share of every estimate, such as 10% or 0.1")
    return share


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
            f"{setting}: this is no address of a web server; write http://HOST:PORT or "
            "https://HOST, without spaces"
        )
    return url


def inside(folder: Path, path: object, what: str) -> Path:
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
