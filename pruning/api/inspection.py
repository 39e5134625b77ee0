"""What a network costs on a device and why, before any training."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from pruning.allocation.feasibility import min_cost
from pruning.api.text import NAMES, amount, table
from pruning.budget import LIMITS, Cost, Device
from pruning.catalogue import devices
from pruning.cost.model import CostModel, KernelCost, bottlenecks
from pruning.deploy import obstacles
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.channel_groups import ChannelGroup
from pruning.training.job import precision_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a network costs on a device, and why. All of it is estimated; `print` shows a table.

    Args:
        device: the microcontroller.
        cost: of the whole network.
        least: of the smallest widths that pruning goes to.
        parameters: how many numbers are learnt or kept.
        input_bytes: of one int8 input.
        obstacles: why the network has no exact int8 form, and so no C; empty where it has.
        bottlenecks: the operator that takes most of each resource.
        operators: in execution order, each with its bytes, multiply-accumulates and milliseconds.
        groups: channels that live and die together.

    Example:
        >>> import pruning, torch
        >>> net = pruning.models.resnet8(in_channels=1)
        >>> found = pruning.inspect(net, torch.zeros(1, 8, 8), "stm32f446")
        >>> found.fits, found.bottlenecks["sram_bytes"]
        (True, 'features.block1.body.second.conv')
    """

    device: Device
    cost: Cost
    least: Cost
    parameters: int
    input_bytes: int
    obstacles: tuple[str, ...]
    bottlenecks: Mapping[str, str]
    operators: tuple[KernelCost, ...]
    groups: tuple[ChannelGroup, ...]

    @property
    def fits(self) -> bool:
        """Whether the device has room for the network as it is."""
        return self.device.budget.holds(self.cost)

    def __str__(self) -> str:
        header = ("estimated", "unpruned", "device leaves", "least reachable", "bottleneck")
        limits = self.device.budget.limits
        rows = [
            (
                NAMES[name],
                amount(name, getattr(self.cost, name)),
                amount(name, limits.get(name)),
                amount(name, getattr(self.least, name)),
                self.bottlenecks[name],
            )
            for name in LIMITS
        ]
        verdict = "fits" if self.fits else "does NOT fit"
        lines = [table([header, *rows]), f"It {verdict} {self.device.name} as it is, unpruned."]
        lines += [f"No exact int8 form: {obstacle}" for obstacle in self.obstacles]
        return "\n".join(lines)


def inspect(
    module: nn.Module,
    example: Tensor,
    device: Device | str,
    *,
    ignored_layers: tuple[str, ...] = (),
    min_channels: Mapping[str, int] | None = None,
    round_to: int = 1,
) -> Inspection:
    """What a network costs on a device, operator by operator, before any training.

    Costs are those of the generated C where the network has it, else those of a network that an
    interpreter runs.

    Args:
        module: a network of the supported operators. It is not changed.
        example: one input without a batch axis, shaped (channels, *spatial); its values and type
            do not matter.
        device: a microcontroller, or the name of one (see `devices`).
        ignored_layers: modules whose output channels are not pruned, by their names in `module`.
        min_channels: the fewest channels of modules, by their names.
        round_to: pruned widths are multiples of it.

    Returns:
        Bytes of flash and SRAM, milliseconds and multiply-accumulates, of the whole and by
        operator, and the least that pruning can reach.

    Raises:
        UnsupportedOperatorError: the network cannot be traced; the message names the operator.
        DeviceError: there is no device of this name.

    Example:
        >>> import pruning, torch
        >>> found = pruning.inspect(torch.nn.Conv2d(1, 4, 3), torch.zeros(1, 6, 6), "stm32f103")
        >>> found.cost.macs, found.cost.sram_bytes
        (576, 80)
    """
    zeros = torch.zeros(example.shape)  # whatever its type: networks see normalised floats
    graph = trace(module, zeros, ignored_layers, min_channels, round_to)
    precision = precision_of(graph)
    chip = devices.device(device) if isinstance(device, str) else device
    model = CostModel(graph, chip, precision.encoding, precision.conventions)
    return inspection(model, tensors_of(module))


def inspection(model: CostModel, tensors: Mapping[str, Tensor]) -> Inspection:
    """What a cost model says of a whole network with these tensors."""
    graph = model.graph
    widths = graph.channels.widths
    return Inspection(
        device=model.device,
        cost=model.dense,
        least=min_cost(model),
        parameters=sum(tensor.numel() for tensor in tensors.values() if tensor.dim()),
        input_bytes=prod(graph.input_shape),
        obstacles=tuple(obstacles(graph)),
        bottlenecks=bottlenecks(model, widths),
        operators=model.explain(widths),
        groups=tuple(graph.channels.groups),
    )
