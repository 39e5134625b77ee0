"""From a spec to live objects: data, task, network and jobs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor, nn

from pruning.allocation.allocate import Allocation
from pruning.allocation.method import Method
from pruning.allocation.registry import METHODS
from pruning.budget import Budget, Device
from pruning.cost.memory.peak import MemoryConventions
from pruning.cost.model import CostModel, Encoding
from pruning.data import Dataset
from pruning.deploy import require_deployable
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.graph import Graph
from pruning.migration import graph_in_format_1
from pruning.models import load_weights, weights_digest
from pruning.spelling import nearest
from pruning.tasks import Task
from pruning.training.job import (
    Accelerator,
    Job,
    Precision,
    Pruning,
    Recipe,
    precision_of,
)
from pruning.training.recipes import recipe
from search.config.devices import device_from
from search.config.instantiate import instantiated
from search.config.schema import MethodConfig, PhasesConfig
from search.config.spec import Spec
from search.errors import ConfigError

AUTO = "auto"  # of a model: filled in from the data; of the precision: from the network


@dataclass(frozen=True, slots=True)
class Start:
    """A network and its tensors before training."""

    graph: Graph
    tensors: dict[str, Tensor]


@final
class SweepFactory:
    """The parts that a spec describes, each built once when it is first needed.

    Args:
        spec: all settings of the sweep.
        precision: how the int8 network is scored, where that is known: to find it out, the
            network is traced, which needs the data set.
        data: the data set, where it is loaded already.
    """

    def __init__(
        self, spec: Spec, precision: Precision | None = None, data: Dataset | None = None
    ) -> None:
        self.spec = spec
        self._precision = precision
        self._data = data
        self._typed = spec.typed()

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return self._data or instantiated(self.spec["data"], Dataset, "data")

    @cached_property
    def device(self) -> Device:
        """The microcontroller."""
        return device_from(self._typed.device)

    @cached_property
    def start(self) -> Start:
        """The network with its initial or pretrained weights."""
        torch.manual_seed(self._typed.seed)
        auto = {
            "classes": len(self.data.classes),
            "in_channels": self.data.input_shape[0],
            "shape": list(self.data.input_shape),
            "side": self.data.input_shape[-1],
        }
        config = {k: auto.get(k, v) if v == AUTO else v for k, v in self.spec["model"].items()}
        model = instantiated(config, nn.Module, "model")
        if self._typed.weights is not None:
            load_weights(model, self._typed.weights, self._typed.reinit)
        elif self._typed.reinit:
            raise ConfigError(
                f"reinit={self._typed.reinit}: without weights every layer starts anew; give "
                "weights=FILE, or leave reinit out"
            )
        example = self.data.normalise(self.data.train.inputs[:1])[0]
        bounds = (
            tuple(self._typed.ignored_layers),
            self._typed.min_channels or {},
            self._typed.round_to,
        )
        graph = trace(model, example, *bounds)
        return Start(graph, tensors_of(model))

    def cost_model(self, graph: Graph) -> CostModel:
        """The costs of a graph on the device, as it is stored there."""
        return CostModel(graph, self.device, self.encoding, self.conventions)

    @property
    def margins(self) -> Device | None:
        """The device whose margins estimates must leave so that the deployed network is within
        its budget; None for networks that are not generated C.
        """
        return self.encoding.margins(self.device)

    @property
    def encoding(self) -> Encoding:
        """How weights are stored on the device: as in generated C, if that can be made."""
        return self.precision.encoding

    @property
    def conventions(self) -> MemoryConventions:
        """What counts as memory on the device: that of generated C or of an interpreter."""
        interpreted = self._typed.target == "tflite"
        return MemoryConventions() if interpreted else self.precision.conventions

    @cached_property
    def precision(self) -> Precision:
        """How the int8 network is scored.

        Raises:
            ConfigError: there is no such precision. DeployError: it cannot be exact.
        """
        if self._precision is not None:
            return self._precision
        graph, name = self.start.graph, self._typed.precision
        if name == AUTO:
            return precision_of(graph)
        if name not in [*Precision]:
            raise ConfigError(f"precision={name}: write auto, {' or '.join(Precision)}")
        if name == Precision.EXACT:
            require_deployable(graph)
        return Precision(name)

    def task(self) -> Task:
        """A new instance of the task, which may have state."""
        return instantiated(self.spec["task"], Task, "task")

    def dense_key(self, network: bool = True) -> str:
        """The digest of everything that the dense network depends on.

        The config may name the user's own code, so the graph that this code makes is included.
        The initial weights are not: their last bits differ from processor to processor.

        Args:
            network: include the graph; the keys of earlier versions are without it.
        """
        parts = {
            "model": self.spec["model"],
            "weights": self._weights_key(),
            "keep": sorted(self._typed.ignored_layers),
            "least": self._typed.min_channels or {},
            "align": self._typed.round_to,
            "data": self.data.digest,
            "task": self.spec["task"],
            "epochs": [
                self._typed.method.phases.dense_epochs,
                self._typed.method.phases.warmup_epochs,
            ],
            "seed": self._typed.seed,
            "precision": self._typed.accelerator.precision,
        }
        if self.precision is Precision.EXACT:  # others have the digest that they always had
            parts["scored"] = self.precision
        if network:
            parts["network"] = graph_in_format_1(self.start.graph.to_json())
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _weights_key(self) -> str | list[str] | None:
        """What the starting weights depend on besides the seed."""
        if self._typed.weights is None:
            return None
        digest = weights_digest(self._typed.weights)
        return [digest, *sorted(self._typed.reinit)] if self._typed.reinit else digest

    def dense_job(self) -> Job:
        """Training of the unpruned network."""
        return self._job(dense_recipe(self._typed.method.phases), Budget(), self._typed.seed)

    def trial_job(self, params: Mapping[str, Any], budget: Budget, seed: int) -> Job:
        """Pruning and fine-tuning of one trial, with its hyperparameters put in place; those that
        decide the dense network are the factory's own.
        """
        factory = self
        if params:
            factory = SweepFactory(self.spec.replaced(params), self.precision, self.data)
        return factory._job(trial_recipe(factory._typed.method.phases), budget, seed)

    def _job(self, recipe: Recipe, budget: Budget, seed: int) -> Job:
        accelerator = self._typed.accelerator
        _require_device(accelerator.device)
        return Job(
            data=self.data,
            task=self.task(),
            recipe=recipe,
            seed=seed,
            device=self.device,
            budget=budget,
            pruning=pruning_from(self._typed.method),
            accelerator=Accelerator(device=accelerator.device, precision=accelerator.precision),
            scoring=self.precision,
            encoding=self.encoding,
            conventions=self.conventions,
        )


def _require_device(name: str) -> None:
    try:
        supported = torch.device(name).type in ("cpu", "cuda")
    except RuntimeError:
        supported = False
    if not supported:
        raise ConfigError(f"accelerator.device={name}: write cpu or cuda")


def dense_recipe(phases: PhasesConfig) -> Recipe:
    """A warm-up, after which the learning rate falls linearly to zero.

    Raises:
        ConfigError: there are no epochs.
    """
    _require_least(phases, dense_epochs=1, warmup_epochs=0)
    return recipe(phases.dense_epochs, 0, 0, warmup=phases.warmup_epochs)


def trial_recipe(phases: PhasesConfig) -> Recipe:
    """Pruning at a constant learning rate, then fine-tuning while it falls linearly to zero; in
    the last epochs, if asked for, with everything rounded to int8.

    Raises:
        ConfigError: there is no epoch of pruning, so that no budget could be met; or a setting
            is out of its range.
    """
    _require_least(phases, prune_epochs=1, finetune_epochs=0)
    if phases.lr_factor <= 0:
        raise ConfigError(f"method.phases.lr_factor={phases.lr_factor}: write a number above 0")
    if not 0 <= phases.qat_share <= 1:
        raise ConfigError(f"method.phases.qat_share={phases.qat_share}: a share from 0 to 1")
    if phases.qat_share and not phases.finetune_epochs:
        raise ConfigError(
            "method.phases.finetune_epochs=0: no epoch is left for quantization-aware training; "
            "give some, or choose quantize=ptq"
        )
    return recipe(
        0,
        phases.prune_epochs,
        phases.finetune_epochs,
        lr_factor=phases.lr_factor,
        qat_share=phases.qat_share,
    )


def _require_least(phases: PhasesConfig, **least: int) -> None:
    for name, number in least.items():
        if (value := getattr(phases, name)) < number:
            raise ConfigError(f"method.phases.{name}={value}: at least {number}")


def pruning_from(config: MethodConfig) -> Pruning:
    """The engine's settings.

    Raises:
        ConfigError: an unknown method, or one that cannot be made.
    """
    return Pruning(
        allocation=Allocation(
            method=method_from(config),
            loss_exponent=config.loss_exponent,
            shrinkage_factor=config.shrinkage_factor,
            remove_branches=config.remove_branches,
        ),
        update_interval=config.update_interval,
        sensitivity_runs=config.sensitivity_runs,
        sensitivity_samples=config.sensitivity_samples,
        selection_share=config.selection_share,
        selection_candidates=config.selection_candidates,
        saliency_decay=config.saliency_decay,
        anneal_end=config.anneal_end,
        removal_interval=config.removal_interval,
        reserve=config.reserve,
    )


def method_from(config: MethodConfig) -> Method:
    """The method of allocation: one of paring's by its name, or the user's by its `_target_`.

    Raises:
        ConfigError: there is none of that name, both are given, or it cannot be made.
    """
    if config.allocation and config.name not in METHODS:
        return instantiated(
            config.allocation,
            Method,  # type: ignore[type-abstract]  # nothing calls it
            "method.allocation",
        )
    if config.allocation:
        raise ConfigError(
            f"method.allocation: method.name={config.name} is one of paring's, which takes none; "
            "choose method=custom"
        )
    if config.name not in METHODS:
        raise ConfigError(
            f"method.name={config.name!r}: write one of {', '.join(nearest(config.name, METHODS))}"
            ", or for your own choose method=custom and set method.allocation._target_"
        )
    return METHODS[config.name]
