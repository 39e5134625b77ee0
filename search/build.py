"""From a spec to live objects: data, task, network and jobs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor, nn

from pruning.allocate import Allocation, Method
from pruning.budget import Budget, Device
from pruning.cost import CostModel
from pruning.data import Dataset
from pruning.graph import Graph
from pruning.job import Accelerator, Job, Phase, PhaseKind, Pruning, Recipe
from pruning.models import load_weights, weights_digest
from pruning.tasks import Task
from pruning.trace import trace
from search.config import MethodConfig, PhasesConfig, Spec, device_from
from search.errors import ConfigError
from search.made import made

AUTO = "auto"  # in a model's config: filled in from the data


@dataclass(frozen=True, slots=True)
class Start:
    """A network and its tensors before training."""

    graph: Graph
    tensors: dict[str, Tensor]


@final
class Blueprint:
    """The parts that a spec describes, each built once when it is first needed."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._typed = spec.typed()

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return made(self.spec["data"], Dataset, "data")

    @cached_property
    def device(self) -> Device:
        """The microcontroller."""
        return device_from(self._typed.device)

    @cached_property
    def start(self) -> Start:
        """The network with its initial or pretrained weights."""
        torch.manual_seed(self._typed.seed)
        wanted = {
            "classes": len(self.data.classes),
            "in_channels": self.data.input_shape[0],
            "shape": list(self.data.input_shape),
        }
        config = {
            k: wanted.get(k, v) if v == AUTO else v for k, v in self.spec["model"].items()
        }
        model = made(config, nn.Module, "model")
        if self._typed.weights is not None:
            load_weights(model, self._typed.weights, self._typed.fresh)
        elif self._typed.fresh:
            raise ConfigError(
                f"fresh={self._typed.fresh}: without weights every layer starts anew; give "
                "weights=FILE, or leave fresh out"
            )
        example = self.data.normalise(self.data.train.inputs[:1])[0]
        bounds = (tuple(self._typed.keep), self._typed.least or {}, self._typed.align)
        graph = trace(model, example, *bounds)
        return Start(graph, {n: t.detach().clone() for n, t in _named(model).items()})

    def cost_model(self, graph: Graph) -> CostModel:
        """The costs of a graph on the device."""
        return CostModel(graph, self.device)

    def task(self) -> Task:
        """The task, built anew (it may hold state of its own)."""
        return made(self.spec["task"], Task, "task")

    def dense_key(self) -> str:
        """What the dense network depends on, as one digest."""
        parts = {
            "model": self.spec["model"],
            "weights": self._weights_key(),
            "keep": sorted(self._typed.keep),
            "least": self._typed.least or {},
            "align": self._typed.align,
            "data": self.data.digest,
            "task": self.spec["task"],
            "epochs": [
                self._typed.method.phases.dense_epochs,
                self._typed.method.phases.warmup_epochs,
            ],
            "seed": self._typed.seed,
            "precision": self._typed.accelerator.precision,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _weights_key(self) -> str | list[str] | None:
        """What the starting weights depend on besides the seed."""
        if self._typed.weights is None:
            return None
        digest = weights_digest(self._typed.weights)
        return [digest, *sorted(self._typed.fresh)] if self._typed.fresh else digest

    def dense_job(self) -> Job:
        """Training of the unpruned network."""
        return self._job(dense_recipe(self._typed.method.phases), Budget(), self._typed.seed)

    def slot_job(self, params: Mapping[str, Any], budget: Budget, seed: int) -> Job:
        """Pruning and fine-tuning of one slot, with its hyperparameters put in place."""
        own = Blueprint(self.spec.replaced(params)) if params else self
        own.__dict__["data"] = self.data  # the data set is never a hyperparameter
        return own._job(slot_recipe(own._typed.method.phases), budget, seed)

    def _job(self, recipe: Recipe, budget: Budget, seed: int) -> Job:
        accelerator = self._typed.accelerator
        try:
            torch.device(accelerator.device)
        except RuntimeError as error:
            raise ConfigError(
                f"accelerator.device={accelerator.device}: write cpu or cuda"
            ) from error
        return Job(
            data=self.data,
            task=self.task(),
            recipe=recipe,
            seed=seed,
            device=self.device,
            budget=budget,
            pruning=pruning_from(self._typed.method),
            accelerator=Accelerator(device=accelerator.device, precision=accelerator.precision),
        )


def dense_recipe(phases: PhasesConfig) -> Recipe:
    """Warm up, then fall to zero in a straight line.

    Raises:
        ConfigError: no epochs.
    """
    _require_least(phases, dense_epochs=1, warmup_epochs=0)
    warmup = min(phases.warmup_epochs, phases.dense_epochs - 1)
    warm = Phase(kind=PhaseKind.DENSE, epochs=warmup, rate=(0.1, 1.0))
    rest = Phase(kind=PhaseKind.DENSE, epochs=phases.dense_epochs - warmup)
    return (warm, rest) if warmup > 0 else (rest,)


def slot_recipe(phases: PhasesConfig) -> Recipe:
    """Prune at a constant learning rate, then fine-tune along a straight line to zero.

    Raises:
        ConfigError: no epoch to prune in, so that the budget could not be met, or no rate.
    """
    _require_least(phases, prune_epochs=1, finetune_epochs=0)
    if phases.rate <= 0:
        raise ConfigError(f"method.phases.rate={phases.rate}: write a number above 0")
    rate = phases.rate
    return (
        Phase(kind=PhaseKind.PRUNE, epochs=phases.prune_epochs, rate=(rate, rate)),
        Phase(kind=PhaseKind.FINETUNE, epochs=phases.finetune_epochs, rate=(rate, 0.0)),
    )


def _require_least(phases: PhasesConfig, **least: int) -> None:
    for name, number in least.items():
        if (value := getattr(phases, name)) < number:
            raise ConfigError(f"method.phases.{name}={value}: at least {number}")


def pruning_from(config: MethodConfig) -> Pruning:
    """The engine's settings.

    Raises:
        ConfigError: an unknown method.
    """
    if config.name not in list(Method):
        raise ConfigError(f"method.name={config.name!r}: write one of {', '.join(Method)}")
    return Pruning(
        allocation=Allocation(
            method=Method(config.name),
            power=config.power,
            trust=config.trust,
            vanish=config.vanish,
        ),
        every=config.every,
        probes=config.probes,
        probe_samples=config.probe_samples,
        race=config.race,
        racers=config.racers,
        memory=config.memory,
        settle=config.settle,
        remove_every=config.remove_every,
        slack=config.slack,
    )


def _named(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
