"""What every kernel of a network takes: records, read from the file that a trial stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracking.decode import amount, decoded, several, text, whole

PROFILE = "profile.json"  # its name among a trial's files


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLine:
    """One kernel, as estimated.

    `fused` says what runs in the same loop; `live` gives the bytes of every buffer that is held
    meanwhile. Of these the kernel reads `reads` and makes `writes`; the others wait.
    """

    name: str
    kind: str
    fused: tuple[str, ...]
    shape: tuple[int, ...]
    flash_bytes: int
    macs: int
    latency_ms: float
    live: Mapping[str, int]
    reads: tuple[str, ...]
    writes: str

    @property
    def live_bytes(self) -> int:
        """Memory in use while the kernel runs."""
        return sum(self.live.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The kernels in execution order: of the unpruned network, and of the trial's own."""

    before: tuple[KernelLine, ...]
    after: tuple[KernelLine, ...]


def read_profile(content: bytes) -> Profile:
    """Read a trial's profile.json; keys that are not known are passed over.

    Raises:
        DamagedError: it is no profile, or lacks a part.
    """
    return decoded(content, _profile, f"{PROFILE} does not tell what a network takes")


def _profile(entry: Any) -> Profile:
    return Profile(
        before=tuple(_line(line) for line in several(entry["before"])),
        after=tuple(_line(line) for line in several(entry["after"])),
    )


def _line(entry: Mapping[str, Any]) -> KernelLine:
    return KernelLine(
        name=text(entry["name"]),
        kind=text(entry["kind"]),
        fused=tuple(text(name) for name in several(entry["fused"])),
        shape=_shape(entry["shape"]),
        flash_bytes=whole(entry["flash_bytes"]),
        macs=whole(entry["macs"]),
        latency_ms=amount(entry["latency_ms"]),
        live={text(name): whole(size) for name, size in entry["live"].items()},
        reads=tuple(text(name) for name in several(entry["reads"])),
        writes=text(entry["writes"]),
    )


def _shape(entry: Any) -> tuple[int, ...]:
    channels, *extent = (whole(size) for size in several(entry))
    return channels, *extent
