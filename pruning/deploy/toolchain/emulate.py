"""Firmware run on an emulated core: its results, its instructions and its stack."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from operator import or_
from typing import Any, NamedTuple

import numpy as np
import unicorn
from unicorn.unicorn_py3 import Uc, UcError

from pruning.cost.core import Emulator
from pruning.cost.cores import core_named
from pruning.deploy.backends.c import run_symbol
from pruning.deploy.integer_ir import Codes, IntegerNetwork
from pruning.deploy.kernels.registry import family_of
from pruning.deploy.toolchain.build import Firmware
from pruning.errors import EmulatorError
from pruning.ir.operator import INPUT

FLASH, RAM, ROOM = 0x0, 0x20000000, 64 << 20  # as in memory.ld
STACK = 64 << 10  # bytes that are painted before a run
PAINT = 0xA5
TIMEOUT_S = 60.0  # of one inference


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What happened on the core: the codes of every output, (batch, channels, height, width)
    each; the instructions of the first inference, in all and by kernel; bytes of stack.
    """

    outputs: tuple[Codes, ...]
    instructions: int
    by_kernel: Mapping[str, int]
    stack_bytes: int


def execute(
    firmware: Firmware, network: IntegerNetwork, codes: Codes, timeout_s: float = TIMEOUT_S
) -> Execution:
    """Run a network on inputs, (batch, channels, height, width).

    Raises:
        EmulatorError: the core faulted, or did not end in time.
    """
    machine = _Machine(firmware, timeout_s)
    machine.boot()
    answers: list[list[Codes]] = []
    for sample in codes.reshape(-1, *network.shapes[INPUT]):
        machine.write("model_input", np.moveaxis(sample, 0, -1).tobytes())
        machine.call("model_run", counted=not answers)
        answers.append([machine.output(n, network) for n in range(len(network.outputs))])
    names = [
        kernel.name
        for kernel in network.kernels
        for _ in range(len(kernel.inputs) if family_of(kernel).step_per_input else 1)
    ]
    by_kernel: Counter[str] = Counter()
    # A last part is the end of paring_run, unless its last call never comes back.
    if len(machine.counts) not in (len(names), len(names) + 1):
        raise EmulatorError(
            f"the emulated {firmware.core} called {len(machine.counts)} kernels for a network "
            f"of {len(names)}: the firmware is of another network; build it anew"
        )
    for name, count in zip([*names, names[-1]], machine.counts, strict=False):
        by_kernel[name] += count
    return Execution(
        outputs=tuple(np.stack(parts) for parts in zip(*answers, strict=True)),
        instructions=by_kernel.total(),
        by_kernel=by_kernel,
        stack_bytes=machine.stack_bytes(),
    )


class _Registers(NamedTuple):
    """The registers that calls go through, as unicorn numbers them."""

    program_counter: int
    stack_pointer: int
    return_address: int
    first_argument: int


def _registers(emulator: Emulator) -> _Registers:
    constants = import_module(emulator.constants)
    return _Registers(
        *(getattr(constants, getattr(emulator, register)) for register in _Registers._fields)
    )


def _emulated(emulator: Emulator) -> Uc:
    """A core without memory."""
    modes = (getattr(unicorn, mode) for mode in emulator.modes)
    core = Uc(getattr(unicorn, emulator.architecture), reduce(or_, modes, 0))
    core.ctl_set_cpu_model(getattr(import_module(emulator.constants), emulator.model))
    return core


class _Machine:
    """A core with memory, and the firmware in it."""

    def __init__(self, firmware: Firmware, timeout_s: float) -> None:
        core = core_named(firmware.core)
        self.firmware, self.timeout_s = firmware, timeout_s
        self.counts: list[int] = []  # instructions between the calls of paring_run
        self._code_bit, self._emulator = core.toolchain.code_bit, core.emulator
        self._registers = _registers(core.emulator)
        self._core = _emulated(core.emulator)
        self._core.mem_map(FLASH, ROOM)
        self._core.mem_map(RAM, ROOM)
        for address, content in firmware.segments.items():
            self._core.mem_write(address, content)

    def boot(self) -> None:
        """From the start code to the first stop."""
        stack = self._address("stack_top")
        self._core.mem_write(stack - STACK, bytes([PAINT]) * STACK)
        self._go(self._address("reset"))

    def call(self, name: str, counted: bool = False) -> int:
        """Call a function without arguments; returns what it returns."""
        if not counted:
            return self._go(self._address(name))
        start, size = self.firmware.symbols[run_symbol()]
        blocks: list[Counter[tuple[int, int]]] = [Counter()]
        within = False

        def count(_: Any, address: int, length: int, __: Any) -> None:
            nonlocal within
            came, within = within, start <= address < start + size
            if within and not came:  # begun, or back from a call
                blocks.append(Counter())
            blocks[-1][address, length] += 1

        hook = self._core.hook_add(unicorn.UC_HOOK_BLOCK, count)
        result = self._go(self._address(name))
        self._core.hook_del(hook)
        self.counts = [
            sum(self._instructions(*block) * times for block, times in part.items())
            for part in blocks[1:]
        ]
        return result

    def write(self, pointer: str, content: bytes) -> None:
        """Write where a function points."""
        self._core.mem_write(self.call(pointer), content)

    def output(self, index: int, network: IntegerNetwork) -> Codes:
        """The codes of an output."""
        channels, height, width = network.shapes[network.outputs[index]]
        self._core.reg_write(self._registers.first_argument, index)
        place = self.call("model_output")
        content = self._core.mem_read(place, channels * height * width)
        codes = np.frombuffer(bytes(content), np.int8).reshape(height, width, channels)
        return np.moveaxis(codes, -1, 0)

    def stack_bytes(self) -> int:
        """How deep the stack ever was."""
        stack = self._address("stack_top")
        painted = bytes(self._core.mem_read(stack - STACK, STACK))
        return len(painted.lstrip(bytes([PAINT])))

    def _address(self, name: str) -> int:
        return self.firmware.symbols[name][0]

    def _go(self, address: int) -> int:
        """Run from an address until `ready` is reached; returns the first register."""
        ready, registers = self._address("ready"), self._registers
        self._core.reg_write(registers.stack_pointer, self._address("stack_top"))
        self._core.reg_write(registers.return_address, ready | self._code_bit)
        try:
            self._core.emu_start(
                address | self._code_bit, ready, timeout=round(self.timeout_s * 1e6)
            )
        except UcError as error:
            place = self._core.reg_read(registers.program_counter)
            raise EmulatorError(
                f"the emulated {self.firmware.core} faulted at {place:#x}: {error}"
            ) from error
        if self._core.reg_read(registers.program_counter) & ~self._code_bit != ready:
            raise EmulatorError(
                f"the emulated {self.firmware.core} did not end within {self.timeout_s:g} s: "
                "its firmware hangs, or the network is very large"
            )
        result: int = self._core.reg_read(registers.first_argument)
        return result

    def _instructions(self, address: int, length: int) -> int:
        """Instructions in a block, of one or two half-words each."""
        halves = np.frombuffer(bytes(self._core.mem_read(address, length)), np.uint16).tolist()
        mask, prefixes = self._emulator.long_mask, self._emulator.long_prefixes
        count = place = 0
        while place < len(halves):
            place += 2 if halves[place] & mask in prefixes else 1
            count += 1
        return count
