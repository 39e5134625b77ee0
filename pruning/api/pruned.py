"""Prune a network under a budget while it trains, and take the result along."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict, Unpack

from torch import nn

from pruning.allocation.explain import Explanation
from pruning.api.text import NAMES, amount, table
from pruning.api.why import why
from pruning.budget import RESOURCES, Budget, Cost, Device
from pruning.catalogue import devices
from pruning.data import Dataset, Split
from pruning.deploy.toolchain.measure import Measured, measure
from pruning.errors import BudgetError, PruningError
from pruning.execution.network import Network
from pruning.export.files import noted, write_all
from pruning.export.formats import Format, Source, format_of
from pruning.export.stored_model import integer_network, packed, probes, stored_cost
from pruning.frontend.trace import tensors_of, trace
from pruning.spelling import nearest
from pruning.tasks import Task
from pruning.training.checkpoint import StoredNetwork, unpack_network
from pruning.training.job import Accelerator, Job, Precision, Pruning, Recipe
from pruning.training.recipes import recipe
from pruning.training.state import Epoch, Pruned, TrainState
from pruning.training.train import evaluate, train


class Settings(TypedDict, total=False):
    """What else can be said of a run: fields of `Job`, and those bounds of `trace`."""

    task: Task
    recipe: Recipe
    seed: int
    pruning: Pruning
    accelerator: Accelerator
    scoring: Precision | None
    ignored_layers: tuple[str, ...]
    min_channels: dict[str, int] | None
    round_to: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrunedModel:
    """A network within its budget, as it would be deployed.

    Args:
        network: its graph and tensors, and what is noted beside them.
        content: the same as a safetensors file.
        cost: estimated, with the memory plan of its C where it has C: the linked firmware takes
            no more than the budget.
        history: a record for every epoch.
        explanation: what pruning found; None where the recipe has no prune phase.
        job: what it was trained by.

    Example:
        >>> import pruning, torch
        >>> data = pruning.data.synthetic(train=64)
        >>> net = pruning.models.resnet8(in_channels=1, filters=4, classes=4)
        >>> model = pruning.prune(
        ...     net, data, device="stm32f446", flash="50 %", progress=False,
        ...     recipe=pruning.recipe(prune=1, finetune=1),
        ... )
        >>> model.cost.flash_bytes <= model.budget.flash_bytes
        True
    """

    network: StoredNetwork
    content: bytes
    cost: Cost
    history: tuple[Epoch, ...]
    explanation: Explanation | None
    job: Job

    @property
    def score(self) -> float:
        """The task's metric on the validation split, of the int8 network."""
        return self.history[-1].score

    @property
    def budget(self) -> Budget:
        """What the firmware stays within, in bytes and milliseconds."""
        return self.job.budget

    def score_on(self, split: Split) -> float:
        """The task's metric of the int8 network on another split, such as `data.test`."""
        return evaluate(self.network.graph, self.network.tensors, self.job, split)

    def module(self) -> Network:
        """The network in floating point, (batch, channels, *spatial) in, in inference mode. Its
        inputs are normalised: `data.normalise(batch)`.
        """
        return self.network.module()

    def why(self) -> str:
        """What each limit costs, and why each channel group has its width, as a table."""
        return why(self.explanation, self.cost, self.budget)

    def export(
        self, folder: str | Path, format: str | Format = "c", name: str = "model"
    ) -> tuple[Path, ...]:
        """Write the network into a folder, in place of what an earlier export wrote there.

        Args:
            folder: is made where it does not exist; files of others stay.
            format: "c" (int8, C99), "tflite" (int8; extra [tflite]), "safetensors", or "onnx"
                (floating point; extra [onnx]); or a format of your own.
            name: what all names of generated C begin with.

        Returns:
            The files, each whole: the network and a README.md on how to use it.

        Raises:
            DeployError: the network has no such form, or C no such name. PruningError: there is
                no such format. OutputError: a file of somebody else is in the way.
        """
        form = format_of(format)
        origin = ("", f"Pruned by paring {version('paring')} for {self.job.device.name}.")
        files = dict(form.files(self.network, self.content, Source(name, origin)))
        usage = form.usage.format(name=name, NAME=name.upper())
        files["README.md"] = f"{self._card()}\n{usage}".encode()
        place = Path(folder)
        write_all(place, files, noted(place).keys() - files.keys())
        return tuple(place / file for file in files)

    def verify(self) -> Measured:
        """Compile the network for the device's core, run it on an emulated one, and compare every
        result (extra [verify] and arm-none-eabi-gcc).

        Returns:
            Bytes and instructions as measured, and `mismatches`, which should be 0.

        Raises:
            DeployError: it has no C, there is no compiler, or the core fails.
        """
        network = integer_network(self.network)
        return measure(network, self.job.device.core, probes(self.job.data, network))

    def __str__(self) -> str:
        header = ("estimated", "takes", "limit")
        rows = [
            (
                NAMES[name],
                amount(name, getattr(self.cost, name)),
                amount(name, self.budget.limits.get(name)),
            )
            for name in RESOURCES
        ]
        metric = self.job.task.metric.name
        return f"{metric} {self.score:.4f} for {self.job.device.name}\n{table([header, *rows])}"

    def _card(self) -> str:
        """The beginning of the README beside an exported network, in Markdown."""
        notes, shape = self.network.notes, "x".join(map(str, self.network.graph.input_shape))
        return (
            f"# A network for {self.job.device.name}\n\n```text\n{self}\n```\n\n"
            f"- data: {notes['data']['name']}, targets: {', '.join(notes['classes'])}\n"
            f"- input: {shape}, normalised as (x - mean) / std with mean {notes['mean']} and\n"
            f"  std {notes['std']} per channel\n"
        )


def prune(
    module: nn.Module,
    data: Dataset,
    *,
    device: Device | str,
    flash: str | float | None = None,
    sram: str | float | None = None,
    latency: str | float | None = None,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> PrunedModel:
    """Prune a network while it trains, so that its firmware stays within a budget.

    Args:
        module: a network of the supported operators, with the weights to start from. It is not
            changed.
        data: three splits, from `pruning.data` or of your own (`pruning.data.assemble`).
        device: a microcontroller, or the name of one (see `devices`). What it has bounds what is
            not limited below.
        flash: "32 KiB", "32 kB", a number of bytes, or "25 %" of what the network takes as it is.
        sram: likewise.
        latency: "20 ms", a number of milliseconds, or a share; None for no limit.
        progress: whether a line is printed after every epoch.
        settings: `recipe` (epochs; see `recipe`, and give it `dense` epochs for a network that
            is not trained), `task` (loss, metric, optimizer, batch size), `seed`, `pruning`,
            `accelerator` and `scoring`, as in `pruning.training.job.Job`; `ignored_layers`,
            `min_channels` and `round_to`, as in `inspect`.

    Returns:
        The network with its `score`, `cost` and `why()`, and `export(folder, format="c")`.

    Raises:
        BudgetError: a limit that cannot be read, or that no width meets, which is found before
            any training. UnsupportedOperatorError: the network cannot be traced. DeviceError:
            there is no device of this name. DivergedError: the loss is no longer a number.

    Example:
        >>> import pruning
        >>> data = pruning.data.digits()
        >>> pruning.prune(
        ...     pruning.models.resnet8(in_channels=1), data, device="stm32f446", flash="9 B"
        ... )
        Traceback (most recent call last):
            ...
        pruning.errors.BudgetError: budget out of reach of the least widths...
    """
    chip = devices.device(device) if isinstance(device, str) else device
    state, job = _begun(module, data, chip, settings)
    dense = job.cost_model(state.graph).dense
    job = replace(job, budget=Budget.of(flash, sram, latency, dense).intersect(chip.budget))
    for epoch in train(state, job):
        if progress:
            print(_line(epoch, job), flush=True)
    return _finished(state, job)


def _begun(
    module: nn.Module, data: Dataset, device: Device, settings: Settings
) -> tuple[TrainState, Job]:
    """The network before training, and a job without a budget."""
    _require_known(settings)
    graph = trace(
        module,
        data.normalise(data.train.inputs[:1])[0],
        settings.get("ignored_layers", ()),
        settings.get("min_channels"),
        settings.get("round_to", 1),
    )
    job = Job(
        data=data,
        task=settings.get("task", Task()),
        recipe=settings.get("recipe", recipe()),
        seed=settings.get("seed", 0),
        device=device,
        pruning=settings.get("pruning", Pruning()),
        accelerator=settings.get("accelerator", Accelerator()),
        scoring=settings.get("scoring"),
    ).settled(graph)
    if not job.epochs:
        raise PruningError("recipe: no epoch, so that nothing would be pruned; give it some")
    return TrainState.begin(graph, tensors_of(module), job), job


def _require_known(settings: Settings) -> None:
    known = Settings.__annotations__
    for name in settings.keys() - known.keys():
        raise PruningError(
            f"there is no setting {name!r}; there are {', '.join(nearest(name, known))}"
        )


def _line(epoch: Epoch, job: Job) -> str:
    """What an epoch came to, on one line."""
    costs = (f"{NAMES[name]} {amount(name, getattr(epoch.cost, name))}" for name in RESOURCES)
    return (
        f"epoch {epoch.epoch}/{job.epochs} {epoch.phase}: {job.task.metric.name} "
        f"{epoch.score:.4f}, {', '.join(costs)}, {epoch.seconds:.1f} s"
    )


def _finished(state: TrainState, job: Job) -> PrunedModel:
    """The network as it is stored, and what that costs."""
    content = packed(state, job)
    network = unpack_network(content)
    model = job.cost_model(network.graph)
    cost, _ = stored_cost(network, model)
    if not job.limits(model).holds(cost):
        raise BudgetError(
            f"the network costs {cost}, over its budget {job.limits(model).limits}; raise the limit"
        )
    return PrunedModel(
        network=network,
        content=content,
        cost=cost,
        history=tuple(state.history),
        explanation=state.stage.explanation if isinstance(state.stage, Pruned) else None,
        job=job,
    )
