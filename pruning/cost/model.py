"""What a network costs as a function of its widths: one formula for every use.

The channel count of every value is linear in the widths, memory one linear form for every
step, and every kernel's work bilinear in the channels it reads and writes: flash and MACs are
quadratic forms of the widths. So is, nearly, the number of instructions, whose steps from one
channel to the next the forms leave out. Costs are exact at integers; between them, forms and
their derivatives are known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from operator import attrgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pruning.budget import LIMITS, WORD_BYTES, Cost, Device
from pruning.cost.cores import core_named
from pruning.cost.forms import Encoding, flash, macs, overhead, rounded_up
from pruning.cost.latency import (
    Counter,
    instruction_count,
    posynomial,
    routine_name,
    trip_counts,
)
from pruning.cost.memory.arena import ArenaPlan, pack
from pruning.cost.memory.peak import (
    DEPLOYED,
    PUBLISHED,
    MemoryConventions,
    ScheduleStep,
    buffer_uses,
    schedule,
)
from pruning.graph.fusion import buffers, fuse
from pruning.graph.graph import Graph
from pruning.graph.shrink import (
    group_shares,
    shrink_graph,
    stays_connected,
    units_left,
    without,
)
from pruning.ir.bilinear import BilinearForm
from pruning.ir.kernel import Kernel
from pruning.ir.loops import TripCounts
from pruning.ir.operator import INPUT

__all__ = [
    "CostModel",
    "Encoding",
    "KernelCost",
    "bottlenecks",
    "dependents",
    "deployed",
    "is_connected",
    "loop_passes",
    "published",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """One line of an explanation: what a kernel does and holds.

    `fused` says what follows the main operator in the same loop; `live` gives the bytes of
    every buffer that is held while it runs, `live_bytes` their sum. Of these it reads `reads`
    and makes `writes`; the others wait for a later kernel.
    """

    name: str
    kind: str
    fused: tuple[str, ...]
    shape: tuple[int, ...]
    flash_bytes: int
    macs: int
    latency_ms: float
    live_bytes: int
    live: Mapping[str, int]
    reads: tuple[str, ...]
    writes: str


Bytes = NDArray[np.int64] | NDArray[np.float64]  # (groups,)
SHARES = {  # what a line of an explanation says of each resource
    "flash_bytes": "flash_bytes",
    "sram_bytes": "live_bytes",
    "latency_ms": "latency_ms",
    "macs": "macs",
}


@dataclass(frozen=True)
class CostModel:
    """Costs of one graph at any widths, for one device, encoding and set of conventions.

    Widths are given in the order of `graph.channels.groups`. A width of zero is that of a group
    that vanished: `cost`, `peak`, `explain` and `bottlenecks` then look at the network that is
    left; the other functions want widths above zero.
    """

    graph: Graph
    device: Device
    encoding: Encoding = Encoding.INT8
    conventions: MemoryConventions = field(default_factory=MemoryConventions)

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The graph after fusion."""
        return fuse(self.graph)

    def cost(self, widths: Sequence[int]) -> Cost:
        """The exact cost at integer widths."""
        if not all(widths):
            model, widths = self._narrowed(widths)
            return model.cost(widths)
        n = torch.as_tensor(widths, dtype=torch.float64)
        return Cost(
            flash_bytes=round(self._sum("flash", n).item()),
            sram_bytes=self.peak(widths),
            latency_ms=self.device.milliseconds(self._instructions(n).sum().item()),
            macs=round(self._sum("macs", n).item()),
        )

    def peak(self, widths: Sequence[int]) -> int:
        """Exact peak SRAM in bytes at integer widths."""
        if not all(widths):
            model, widths = self._narrowed(widths)
            return model.peak(widths)
        n = torch.as_tensor(widths, dtype=torch.float64)
        return round((self.live(self.schedule(widths)) @ n).max().item())

    def arena(self, widths: Sequence[int]) -> ArenaPlan:
        """Where the buffers lie at integer widths, in one arena."""
        if not all(widths):
            model, widths = self._narrowed(widths)
            return model.arena(widths)
        n = np.asarray(widths, dtype=np.int64)
        ordered = [self.kernels[step.kernel] for step in self.schedule(widths)]
        return pack(buffer_uses(ordered, self.conventions), self._sizes(n), self._outputs)

    def planned_cost(self, widths: Sequence[int]) -> Cost:
        """The cost at integer widths with the gaps between the buffers of generated C."""
        cost = self.cost(widths)
        if self.conventions != DEPLOYED:
            return cost
        return replace(cost, sram_bytes=max(cost.sram_bytes, self.arena(widths).arena_bytes))

    @cached_property
    def dense(self) -> Cost:
        """The cost when nothing is pruned."""
        return self.cost(self.graph.channels.widths)

    def costs(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Flash bytes, SRAM bytes, latency in ms and MACs of many integer widths at once.

        Each result is a vector, one entry a row. Memory is that of the kernels in the order
        that is best for the first row with the same groups left, each run from the end that is
        best there: exact where these are the best ones, and otherwise too much.
        """
        by_vanished: dict[tuple[bool, ...], list[int]] = {}
        for position, row in enumerate(rows):
            by_vanished.setdefault(tuple(map(bool, row)), []).append(position)
        results = {name: torch.zeros(len(rows), dtype=torch.float64) for name in LIMITS}
        for positions in by_vanished.values():
            models = [self._narrowed(rows[position]) for position in positions]
            for name, values in models[0][0]._table([widths for _, widths in models]).items():
                results[name][positions] = values
        return results

    def _table(self, rows: list[list[int]]) -> dict[str, Tensor]:
        n = torch.tensor(rows, dtype=torch.float64).T
        return {
            "flash_bytes": self._work("flash", n).sum(0).round(),
            "sram_bytes": (self.live(self.schedule(rows[0])) @ n).amax(0).round(),
            "latency_ms": self._instructions(n).sum(0) * self.device.milliseconds(1.0),
            "macs": self._work("macs", n).sum(0).round(),
        }

    def form(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Flash, latency or MACs as n'Qn + q'n + c of the widths n: (Q, q, c), Q symmetric.

        Nothing in it is negative. Bytes that fill a last word are left out, and latency is the
        nearest such form.
        """
        kind, scale = {
            "flash_bytes": ("flash", 1.0),
            "macs": ("macs", 1.0),
            "latency_ms": ("instructions", self.device.milliseconds(1.0)),
        }[name]
        c_in, c_out = self._inputs.numpy(), self._written.numpy()
        columns = self._smooth if kind == "instructions" else self._coefficients[kind]
        product, output, input_, constant = scale * columns.numpy()
        square = (c_in * product[:, None]).T @ c_out
        return (square + square.T) / 2, output @ c_out + input_ @ c_in, float(constant.sum())

    def schedule(self, widths: Sequence[int]) -> tuple[ScheduleStep, ...]:
        """The best order of the kernels at integer widths."""
        sizes = self._sizes(np.asarray(widths, dtype=np.int64))
        return schedule(self.kernels, sizes, self._outputs, self.conventions)

    def explain(self, widths: Sequence[int]) -> tuple[KernelCost, ...]:
        """Every kernel in execution order, with its share of each cost."""
        if not all(widths):
            model, widths = self._narrowed(widths)
            return model.explain(widths)
        n = torch.as_tensor(widths, dtype=torch.float64)
        steps = self.schedule(widths)
        live = [self._live(step, n) for step in steps]
        parts = {name: self._work(name, n).tolist() for name in self._coefficients}
        instructions = self._instructions(n).tolist()
        return tuple(
            KernelCost(
                name=kernel.name,
                kind=kernel.kind,
                fused=tuple(self.graph[name].label for name in kernel.chain[1:]),
                shape=(self._channels(kernel.output, n), *kernel.main.shape[1:]),
                flash_bytes=round(parts["flash"][step.kernel]),
                macs=round(parts["macs"][step.kernel]),
                latency_ms=self.device.milliseconds(instructions[step.kernel]),
                live_bytes=sum(live[position].values()),
                live=live[position],
                reads=kernel.inputs,
                writes=kernel.output,
            )
            for position, step in enumerate(steps)
            for kernel in (self.kernels[step.kernel],)
        )

    def after_removal(self, widths: Sequence[int]) -> "tuple[CostModel, Tensor]":
        """What groups of width zero leave behind: the cost model of that network, and which
        groups of this one its own are (see `group_shares`). Those of the same branch go along.

        Raises:
            ValueError: no network is left.
        """
        gone = frozenset(index for index, width in enumerate(widths) if not width)
        if not gone:
            return self, torch.eye(len(widths), dtype=torch.float64)
        if gone not in self._smaller:
            mask = without(self.graph, sorted(gone))
            graph = shrink_graph(self.graph, mask)
            units = units_left(self.graph, graph, mask)
            share = group_shares(self.graph.channels, graph.channels, units)
            along = frozenset((share == 0).all(0).nonzero().flatten().tolist())
            self._smaller[gone] = self._smaller.get(along, (replace(self, graph=graph), share))
            self._smaller[along] = self._smaller[gone]
        return self._smaller[gone]

    def _narrowed(self, widths: Sequence[int]) -> "tuple[CostModel, list[int]]":
        if all(widths):
            return self, list(widths)
        model, share = self.after_removal(widths)
        n = share @ torch.as_tensor(widths, dtype=torch.float64)
        return model, [round(width) for width in n.tolist()]

    @cached_property
    def _connected(self) -> dict[frozenset[int], bool]:
        return {}

    @cached_property
    def _smaller(self) -> "dict[frozenset[int], tuple[CostModel, Tensor]]":
        return {}

    def _work(self, name: str, widths: Tensor) -> Tensor:
        """Work per kernel at integer widths, (groups,) or (groups, rows) for many at once."""
        c_in, c_out = self._inputs @ widths, self._written @ widths
        work = _bilinear(self._coefficients[name], c_in, c_out)
        if name == "flash":  # what ends within a word is filled up
            owners, arrays = self._arrays
            stored = _bilinear(arrays, c_in[owners], c_out[owners]).round()
            work.index_add_(0, owners, -stored % WORD_BYTES)
        return work

    def _instructions(self, widths: Tensor) -> Tensor:
        """Instructions per kernel at integer widths, (groups,) or (groups, rows)."""
        pairs = zip(self._counters, self._channels_at(widths), strict=True)
        return torch.from_numpy(np.stack([count(*channels) for count, channels in pairs]))

    def _channels_at(
        self, widths: Tensor
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """The channels that each kernel reads and writes."""
        read, written = (self._inputs @ widths).numpy(), (self._written @ widths).numpy()
        return zip(read, written, strict=True)

    def _sum(self, name: str, widths: Tensor) -> Tensor:
        return self._work(name, widths).sum()

    @cached_property
    def _coefficients(self) -> dict[str, Tensor]:
        tables: dict[str, Callable[[Kernel], BilinearForm]] = {
            "flash": lambda kernel: flash(kernel, self.encoding),
            "macs": macs,
        }
        tables_by_name = {
            name: torch.tensor([table(k) for k in self.kernels], dtype=torch.float64).T
            for name, table in tables.items()
        }
        # What a network has once counts with its first kernel.
        once = overhead(self.encoding, self.device.core, len(self._outputs))
        tables_by_name["flash"][-1, 0] += once
        return tables_by_name

    @cached_property
    def _counters(self) -> tuple[Counter, ...]:
        """The instructions of each kernel as a function of its channels."""
        loops = core_named(self.device.core).loop_costs(self.device.loops)
        return tuple(instruction_count(kernel, loops) for kernel in self.kernels)

    @cached_property
    def _smooth(self) -> Tensor:
        """The coefficients of instructions, as near as a form comes to them."""
        ends = [[group.floor, group.size] for group in self.graph.channels.groups]
        n = torch.tensor(ends, dtype=torch.float64)
        forms = [
            posynomial(count, *zip(*channels, strict=True))
            for count, channels in zip(self._counters, self._channels_at(n), strict=True)
        ]
        return torch.tensor(forms, dtype=torch.float64).T

    @cached_property
    def _arrays(self) -> tuple[Tensor, Tensor]:
        """The kernel, and the bytes as a form, of each array that fills whole words."""
        arrays_of = [
            (owner, array)
            for owner, kernel in enumerate(self.kernels)
            for array in rounded_up(kernel, self.encoding)
        ]
        owners = torch.tensor([owner for owner, _ in arrays_of], dtype=torch.long)
        arrays = torch.tensor([array for _, array in arrays_of], dtype=torch.float64)
        return owners, arrays.reshape(-1, len(BilinearForm._fields)).T

    @cached_property
    def _inputs(self) -> Tensor:
        rows = [sum(self._counts(name) for name in k.main.inputs) for k in self.kernels]
        return torch.from_numpy(np.stack(rows)).double()

    @cached_property
    def _written(self) -> Tensor:
        rows = [self._counts(kernel.output) for kernel in self.kernels]
        return torch.from_numpy(np.stack(rows)).double()

    @cached_property
    def _outputs(self) -> tuple[str, ...]:
        holds = buffers(self.graph, self.kernels)
        return tuple(holds[name] for name in self.graph.outputs)

    def _counts(self, value: str) -> Bytes:
        return self.graph.channels.counts[value]

    @cached_property
    def _buffers(self) -> dict[str, Bytes]:
        """Bytes of every buffer per channel kept of each group (one byte per element)."""
        names = (INPUT, *(kernel.output for kernel in self.kernels))
        return {name: self._counts(name) * prod(self.graph.shape(name)[1:]) for name in names}

    def _sizes(self, widths: Bytes) -> dict[str, int]:
        """Bytes of every buffer at integer widths."""
        return {name: int(per_channel @ widths) for name, per_channel in self._buffers.items()}

    def _channels(self, value: str, widths: Tensor) -> int:
        return int(self._counts(value) @ widths.numpy())

    def live(self, steps: Sequence[ScheduleStep]) -> Tensor:
        """Bytes live at each step per channel kept of each group: (moments, groups). A step
        has several moments where its output overlaps its input.
        """
        zero = np.zeros(len(self.graph.channels.groups), dtype=np.int64)
        rows = [sum(held.values(), zero) for step in steps for held in self._moments(step)]
        return torch.from_numpy(np.stack(rows)).double()

    def _live(self, step: ScheduleStep, widths: Tensor) -> dict[str, int]:
        """Bytes of every buffer when most of them are needed."""
        n = widths.numpy()
        held = [
            {name: round(float(per_channel @ n)) for name, per_channel in moment.items()}
            for moment in self._moments(step)
        ]
        return max(held, key=lambda moment: sum(moment.values()))

    def _moments(self, step: ScheduleStep) -> Iterator[dict[str, Bytes]]:
        """What may be live at a step and counts as memory, per channel kept of each group."""
        held = {name: self._buffers[name] for name in step.live}
        if not self.conventions.count_input:
            held.pop(INPUT, None)
        if not step.overlap_points:
            yield held
        kernel = self.kernels[step.kernel]
        read, output = kernel.inputs[0], kernel.output
        for unread, written in step.overlap_points:
            yield {
                **held,
                read: self._buffers[read] * unread / prod(kernel.plane),  # flattened or not
                output: self._counts(output) * written,
            }


def _bilinear(columns: Tensor, c_in: Tensor, c_out: Tensor) -> Tensor:
    """`BilinearForm` of many kernels at once: (kernels,) or (kernels, rows)."""
    if c_in.dim() == 2:
        columns = columns.unsqueeze(-1)
    product, output, input_, constant = columns.unbind()
    return product * c_in * c_out + output * c_out + input_ * c_in + constant


def loop_passes(model: CostModel) -> dict[str, tuple[str, TripCounts]]:
    """By kernel the name of its routine and how often each of its loops runs, nothing pruned."""
    dense = torch.tensor(model.graph.channels.widths, dtype=torch.float64)
    return {
        kernel.name: (
            routine_name(kernel),
            TripCounts(*map(float, trip_counts(kernel)(*channels))),
        )
        for kernel, channels in zip(model.kernels, model._channels_at(dense), strict=True)
    }


def bottlenecks(model: CostModel, widths: Sequence[int]) -> dict[str, str]:
    """For every resource the kernel that takes most of it; for memory, the one during
    which most is live.
    """
    lines = model.explain(widths)
    return {name: max(lines, key=attrgetter(field)).name for name, field in SHARES.items()}


def dependents(model: CostModel, widths: Sequence[int]) -> list[int]:
    """The widths, with zero also for the groups that go along with those of width zero."""
    _, share = model.after_removal(widths)
    return [n if stays else 0 for n, stays in zip(widths, share.any(0).tolist(), strict=True)]


def is_connected(model: CostModel, widths: Sequence[int]) -> bool:
    """Whether a network is left when groups of width zero vanish."""
    gone = frozenset(index for index, width in enumerate(widths) if not width)
    if gone not in model._connected:
        mask = without(model.graph, sorted(gone))
        model._connected[gone] = stays_connected(model.graph, mask)
    return model._connected[gone]


def deployed(graph: Graph, device: Device) -> CostModel:
    """The cost model of generated C."""
    return CostModel(graph, device, Encoding.C, DEPLOYED)


def published(graph: Graph, device: Device) -> CostModel:
    """The cost model whose numbers can be compared with uNAS and its successors."""
    return CostModel(graph, device, Encoding.PUBLISHED, PUBLISHED)
