"""Where QEMU is installed: another emulator finds the same results and instructions."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pruning.deploy import IntegerNetwork, reference
from pruning.deploy.toolchain import build
from pruning.deploy.toolchain.build import Firmware, build_firmware
from pruning.deploy.toolchain.emulate import execute
from tests.pruning.deploy.lowered import drawn, lowered, traced
from tests.search.commands import free_port
from tests.toolchain import COMPILER

QEMU = "qemu-system-arm"
MACHINES = {
    "cortex-m3": "mps2-an385",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
}
STACK = 0x20400000  # the end of these machines' memory
CONTROL, TRAP_UNALIGNED = 0xE000ED14, 1 << 9 | 1 << 3  # the core's CCR, as it is and with that
TIMER, RELOAD, CURRENT = 0xE000E010, 0xE000E014, 0xE000E018  # of the core's SysTick
TICKS = 64 / 40  # of it, at 25 MHz, in an instruction, of 2 ** 6 ns
R0, SP, LR, PC = 0, 13, 14, 15
STUB = 0x20300000  # memory that the firmware does not use
STORES = bytes.fromhex("01607047")  # str r1, [r0]; bx lr

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which(QEMU) is None or shutil.which(COMPILER) is None,
        reason=f"{QEMU} or {COMPILER} is not installed (Debian: qemu-system-arm)",
    ),
]


class Remote:
    """A core that is told what to do over the protocol of GDB."""

    def __init__(self, connection: socket.socket) -> None:
        self.stream = connection.makefile("rwb", buffering=0)
        self.ask("qXfer:features:read:target.xml:0,ffb")  # or single registers are not known

    def ask(self, text: str) -> str:
        body = text.encode()
        self.stream.write(b"$%s#%02x" % (body, sum(body) % 256))
        while (one := self.stream.read(1)) != b"$":
            assert one, "QEMU is gone: the core has faulted for good"
        answer = b""
        while (one := self.stream.read(1)) != b"#":
            answer += one
        self.stream.read(2)
        self.stream.write(b"+")
        return answer.decode()

    def write(self, place: int, content: bytes) -> None:
        for start in range(0, len(content), 512):
            part = content[start : start + 512]
            assert self.ask(f"M{place + start:x},{len(part):x}:{part.hex()}") == "OK"

    def read(self, place: int, size: int) -> bytes:
        parts = [
            self.ask(f"m{place + start:x},{min(512, size - start):x}")
            for start in range(0, size, 512)
        ]
        return bytes.fromhex("".join(parts))

    def register(self, number: int, value: int | None = None) -> int:
        if value is not None:
            assert self.ask(f"P{number:x}={value.to_bytes(4, 'little').hex()}") == "OK"
            return value
        every = bytes.fromhex(self.ask("g"))
        return int.from_bytes(every[4 * number : 4 * number + 4], "little")

    def call(self, place: int, back: int, *arguments: int) -> int:
        """Run a function until it comes back; returns what it returns."""
        for number, value in (*enumerate(arguments), (SP, STACK), (LR, back | 1), (PC, place)):
            self.register(number, value)
        assert self.ask("c")[0] in "ST"
        assert self.register(PC) & ~1 == back
        return self.register(R0)

    def set_device(self, place: int, value: int, back: int) -> None:
        """Store a word from the core: devices hear nothing of a debugger."""
        self.write(STUB, STORES)
        self.call(STUB, back, place, value)


@contextmanager
def running(machine: str, linked: Firmware, folder: Path) -> Iterator[Remote]:
    """The firmware in a machine of QEMU's that waits to be told."""
    port, files = free_port(), []
    for address, content in linked.segments.items():
        path = folder / f"{address:x}.bin"
        path.write_bytes(content)
        files += ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]
    command = [
        QEMU, "-M", machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-icount", "shift=6", "-S", "-gdb", f"tcp:127.0.0.1:{port}", *files,
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        with _connected(port) as connection:
            yield Remote(connection)
    finally:
        process.kill()
        process.wait()


def _connected(port: int) -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise AssertionError("QEMU does not listen")


@pytest.fixture(params=["resnet8", "ds_cnn", "transposed-unet"])
def network(request: pytest.FixtureRequest, small: Callable) -> IntegerNetwork:
    if request.param == "transposed-unet":
        graph, tensors = traced(request.param)
    else:
        graph, model = small(request.param)
        tensors = model.state_dict()
    return lowered(graph, tensors, drawn(graph, 2))


@pytest.mark.parametrize("core", MACHINES)
def test_cores_that_trap_unaligned_words_run_what_is_compiled_for_them(
    network: IntegerNetwork, core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*build.OPTIONS, "-mno-unaligned-access")
    monkeypatch.setattr(build, "OPTIONS", options)
    shape = network.shapes["input"]
    codes = np.random.default_rng(4).integers(-128, 128, (1, *shape)).astype(np.int8)
    linked = build_firmware(network, core)
    at = {name: place for name, (place, _) in linked.symbols.items()}
    values = reference(network, codes)
    with running(MACHINES[core], linked, tmp_path) as remote:
        assert remote.ask(f"Z0,{at['ready']:x},2") == "OK"
        remote.call(at["reset"], at["ready"])
        remote.set_device(CONTROL, TRAP_UNALIGNED, at["ready"])
        assert int.from_bytes(remote.read(CONTROL, 4), "little") == TRAP_UNALIGNED
        place = remote.call(at["model_input"], at["ready"])
        remote.write(place, np.moveaxis(codes[0], 0, -1).tobytes())
        remote.call(at["model_run"], at["ready"])
        for index, name in enumerate(network.outputs):
            place = remote.call(at["model_output"], at["ready"], index)
            wanted = np.moveaxis(values[name].reshape(network.shapes[name]), 0, -1)
            found = np.frombuffer(remote.read(place, wanted.size), np.int8)
            np.testing.assert_array_equal(found, wanted.ravel())


@pytest.mark.parametrize("core", MACHINES)
def test_both_agree(network: IntegerNetwork, core: str, tmp_path: Path) -> None:
    shape = network.shapes["input"]
    codes = np.random.default_rng(3).integers(-128, 128, (1, *shape)).astype(np.int8)
    linked = build_firmware(network, core)
    known = execute(linked, network, codes)
    at = {name: place for name, (place, _) in linked.symbols.items()}
    with running(MACHINES[core], linked, tmp_path) as remote:
        assert remote.ask(f"Z0,{at['ready']:x},2") == "OK"
        remote.call(at["reset"], at["ready"])
        place = remote.call(at["model_input"], at["ready"])
        remote.write(place, np.moveaxis(codes[0], 0, -1).tobytes())
        for register, value in ((RELOAD, 0xFFFFFF), (CURRENT, 0), (TIMER, 5)):
            remote.set_device(register, value, at["ready"])
        begun = int.from_bytes(remote.read(CURRENT, 4), "little")
        remote.call(at["model_run"], at["ready"])
        ended = int.from_bytes(remote.read(CURRENT, 4), "little")
        for index, wanted in enumerate(known.outputs):
            place = remote.call(at["model_output"], at["ready"], index)
            found = np.frombuffer(remote.read(place, wanted[0].size), np.int8)
            np.testing.assert_array_equal(found, np.moveaxis(wanted[0], 0, -1).ravel())
    instructions = ((begun - ended) % (1 << 24)) / TICKS
    assert known.instructions * TICKS < 1 << 24
    assert instructions == pytest.approx(known.instructions, rel=1e-3, abs=50)
