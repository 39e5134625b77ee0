"""Who works on a trial, and whether it is seen to live.

A process is judged only by one that would see it: on the same boot of the same machine, in the
same PID and time namespace. Containers and cluster nodes often share a host name, and there a
PID means another process or none; for all of these the heartbeat decides.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_OWN = Path("/proc/self/ns")
_NAMESPACES = ("pid", "time")  # the second is younger than some kernels
_JITTER_S = 1.0  # of the moment at which a process began


@final
@dataclass(frozen=True, slots=True)
class Owner:
    """A process that works on trials. `started` is in seconds since the boot, which no change of
    the clock moves. `place` is where its PID means something; empty where nobody can tell.
    """

    host: str
    pid: int
    started: float
    place: str = ""

    @staticmethod
    def of(pid: int) -> "Owner":
        """A process of this place.

        Raises:
            psutil.NoSuchProcess: there is none.
        """
        return Owner(socket.gethostname(), pid, _started(pid), _place())

    @staticmethod
    def me() -> "Owner":
        """This process."""
        return Owner.of(os.getpid())

    @staticmethod
    def noted(note: Mapping[str, Any]) -> "Owner":
        """The owner in a trial's attributes. Earlier versions noted no place."""
        return Owner(note["host"], note["pid"], note["started"], note.get("place", ""))

    def note(self) -> dict[str, Any]:
        """The owner as JSON values."""
        return asdict(self)

    def lives(self) -> bool | None:
        """Whether the process lives; None where this process could not see it if it did."""
        if not self.place or self.place != _place():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # somebody else's, perhaps hidden in /proc
        try:
            return abs(_started(self.pid) - self.started) <= _JITTER_S and not _ended(self.pid)
        except psutil.Error:
            return None


def _place() -> str:
    """The boot and the namespaces of this process; empty where the system does not tell them,
    or where /proc shows the processes of another namespace.
    """
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            return ""
        spaces = [path for name in _NAMESPACES if (path := _OWN / name).exists()]
        return "/".join([_BOOT.read_text().strip(), *(str(p.stat().st_ino) for p in spaces)])
    except OSError:
        return ""


def _started(pid: int) -> float:
    """When a process began. psutil adds the time of the boot, which follows the clock."""
    return float(round(psutil.Process(pid).create_time() - psutil.boot_time(), 2))


def _ended(pid: int) -> bool:
    """Whether a process is over, and its parent has not heard of it yet."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
