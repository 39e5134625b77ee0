"""What has to be decided of a kernel of integers, as one record: `KernelFamily`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar, final

from pruning.cost.memory.overlap import ConvWindow
from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel
from pruning.deploy.fixed_point import Integers
from pruning.deploy.integer_ir import IntegerKernel
from pruning.ir.complete import Complete
from pruning.ir.kernel import Kernel

Record = TypeVar("Record", bound=IntegerKernel)


class Operands(NamedTuple):
    """What a kernel reads, (batch, channels, height, width) each, the zero points of these
    codes, and the zero point of its results.
    """

    codes: list[Integers]
    zeros: list[int]
    zero: int

    @property
    def steps(self) -> list[Integers]:
        """Codes above their zero points."""
        return [code - zero for code, zero in zip(self.codes, self.zeros, strict=True)]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelFamily(Complete, Generic[Record]):
    """Everything that is decided of one kernel of integers. No part has a default: a family
    that leaves one out is refused when its module is imported, with its name.

    record: the class of the kernel in an integer network.
    lowerings: for each routine of a fused kernel (see `pruning.ops`) that becomes this one, the
        function that quantizes it.
    obstacle: what keeps a fused kernel from being deployed, in words behind its name; "" for
        nothing.
    reference: the codes that it computes, in 64-bit integers, before they are clipped.
    torch_function: makes the function that computes the same in torch, once for each kernel.
    in_place: whether it reads every element of an operand before it writes the same element of
        the output, so that both may lie in one buffer.
    windows: those by which it may write over what it has read of its only input; None if it may
        not.
    write_c: adds its arrays, its record of settings and its steps to the C source. Its symbols
        end in its index among the network's kernels.
    step_per_input: whether it adds a step for every input, and not a single one.
    write_tflite: adds its tensors and operators to the file; raises a DeployError where no
        operator gives the same codes.
    """

    record: type[Record]
    lowerings: Mapping[str, Callable[[Kernel, LoweringContext], Record]]
    obstacle: Callable[[Kernel], str]
    reference: Callable[[Record, Operands], Integers]
    torch_function: Callable[[Record, ExactTorch], TorchFunction]
    in_place: bool
    windows: Callable[[Record], ConvWindow | None]
    write_c: Callable[[Record, CSource, int], None]
    step_per_input: bool
    write_tflite: Callable[[Record, TfliteModel], None]

    @property
    def name(self) -> str:
        """The name of its record."""
        return self.record.__name__


def no_obstacle(kernel: Kernel) -> str:  # noqa: ARG001 - all families are asked the same
    """Nothing keeps a kernel from being deployed."""
    return ""


def no_windows(kernel: IntegerKernel) -> None:
    """A kernel may not write over what it has read of its input."""
