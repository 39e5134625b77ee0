"""The process that works on a trial, and whether it is alive.

Only a process that could see another one may say whether it lives: on the same boot of the same
machine, in the same PID and time namespace. Containers and cluster nodes often share a host name,
and the same PID is another process there; for all of these the heartbeat decides.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SELF = Path("/proc/self/ns")
_NAMESPACES = ("pid", "time")  # the second is younger than some kernels
_JITTER_S = 1.0  # of the moment at which a process began


@final
@dataclass(frozen=True, slots=True)
class Owner:
    """A process that works on trials. `started` is in seconds since the boot, which does not
    change with the clock. `place` names the boot and the namespaces in which the PID is valid;
    empty where these are unknown.
    """

    host: str
    pid: int
    started: float
    place: str = ""

    @staticmethod
    def of(pid: int) -> "Owner":
        """A process that this one can see.

        Raises:
            psutil.NoSuchProcess: there is none of this PID.
        """
        return Owner(socket.gethostname(), pid, _started(pid), _place())

    @staticmethod
    def me() -> "Owner":
        """This process."""
        return Owner.of(os.getpid())

    @staticmethod
    def noted(note: Mapping[str, Any]) -> "Owner":
        """The owner that `note` encoded. Earlier versions stored no place."""
        return Owner(note["host"], note["pid"], note["started"], note.get("place", ""))

    def note(self) -> dict[str, Any]:
        """The owner as JSON values."""
        return asdict(self)

    def lives(self) -> bool | None:
        """Whether the process lives; None if this process could not see it."""
        if not self.place or self.place != _place():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's process, perhaps hidden in /proc
        try:
            return abs(_started(self.pid) - self.started) <= _JITTER_S and not _ended(self.pid)
        except psutil.Error:
            return None


def _place() -> str:
    """The boot and the namespaces of this process; empty where the system does not show them, or
    where /proc shows the processes of another namespace.
    """
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            return ""
        spaces = [path for name in _NAMESPACES if (path := _SELF / name).exists()]
        return "/".join([_BOOT.read_text().strip(), *(str(p.stat().st_ino) for p in spaces)])
    except OSError:
        return ""


def _started(pid: int) -> float:
    """When a process began, in seconds since the boot. psutil gives it by the clock."""
    return float(round(psutil.Process(pid).create_time() - psutil.boot_time(), 2))


def _ended(pid: int) -> bool:
    """Whether a process is a zombie: over, and not yet reaped by its parent."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
