"""How much one kernel stores and computes: bytes of flash, multiply-accumulates.

Pure functions from a kernel to a `BilinearForm` of the channels that it reads and writes. What a
kind of operator stores and computes stands in its record in `pruning.ops`.
"""

from enum import StrEnum

from pruning.budget import Budget, Device
from pruning.cost.cores import core_named
from pruning.ir.bilinear import BilinearForm
from pruning.ir.kernel import Kernel
from pruning.ops import kernel_rule, routine_of


class Encoding(StrEnum):
    """How weights are stored.

    int8: int8 weights; per output channel an int32 bias, an int32 multiplier and an int8 shift.
    c: the same, with all else that generated C stores of a network: its kernels' settings and
    calls, tables of functions and of places.
    published: one byte per weight and per bias and no scales, as uNAS counts.
    """

    INT8 = "int8"
    C = "c"
    PUBLISHED = "published"

    def margins(self, device: Device) -> Device | None:
        """The device whose margins estimates must leave, so that what is deployed is within a
        budget; None for networks that are not generated C.
        """
        return device if self is Encoding.C else None

    def guarded(self, budget: Budget, device: Device) -> Budget:
        """What estimates must be within, so that what is deployed is within a budget."""
        margins = self.margins(device)
        return margins.guarded(budget) if margins else budget


BYTES_PER_CHANNEL = {Encoding.INT8: 4 + 4 + 1, Encoding.C: 4 + 4 + 1, Encoding.PUBLISHED: 1}
STEP_BYTES = 16  # what generated C stores of a step of the network, beside its record
OUTPUT_BYTES = 4  # of a network with several outputs: what is stored to tell them apart


def flash(kernel: Kernel, encoding: Encoding) -> BilinearForm:
    """Bytes that are stored of a kernel, but for `rounded_up`."""
    rule = kernel_rule(kernel)
    scales = rule.scales(kernel).times(BYTES_PER_CHANNEL[encoding])
    if encoding is not Encoding.C:
        return rule.weights(kernel).plus(scales)
    form = rule.c_weights(kernel).plus(scales).plus(BilinearForm(constant=_settings_bytes(kernel)))
    for table in rule.tables(kernel):
        form = form.plus(table)
    return form


def rounded_up(kernel: Kernel, encoding: Encoding) -> tuple[BilinearForm, ...]:
    """Bytes of each array of a kernel that generated C stores, where they may end within a
    word: the next array begins with a whole one.
    """
    if encoding is not Encoding.C:
        return ()
    rule = kernel_rule(kernel)
    return (rule.c_weights(kernel), rule.scales(kernel), *rule.tables(kernel))


def overhead(encoding: Encoding, core: str, outputs: int) -> int:
    """Bytes that are stored of a network besides its kernels.

    Raises:
        PruningError: the core is unknown.
    """
    if encoding is not Encoding.C:
        return 0
    table = OUTPUT_BYTES * (1 + outputs) if outputs > 1 else 0
    return core_named(core).network_bytes + table


def _settings_bytes(kernel: Kernel) -> int:
    """Bytes of records, steps and tables of results; none of kernels that have no C."""
    record = routine_of(kernel).record_bytes
    return 0 if record is None else kernel_rule(kernel).settings_bytes(kernel, record + STEP_BYTES)


def macs(kernel: Kernel) -> BilinearForm:
    """Multiply-accumulates; a pooled or added element counts as one (as uNAS counts)."""
    return kernel_rule(kernel).macs(kernel)
