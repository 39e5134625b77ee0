"""The costs of every kernel of a network: records, read from the file that a trial stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracking.decode import amount, decoded, items, natural, text

PROFILE = "profile.json"  # its name among a trial's files


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLine:
    """One kernel with its estimated costs.

    `fused` are the kinds of the operators that run in the same loop; `live` gives the bytes of
    every buffer that is in memory while the kernel runs. It reads those in `reads` and writes
    that in `writes`; the others are read by later kernels.
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
    """Read a trial's profile.json; unknown keys are ignored.

    Raises:
        DamagedError: it is no profile, or a part is missing.
    """
    return decoded(content, _profile, f"{PROFILE} does not tell what a network takes")


def _profile(entry: Any) -> Profile:
    return Profile(
        before=tuple(_line(line) for line in items(entry["before"])),
        after=tuple(_line(line) for line in items(entry["after"])),
    )


def _line(entry: Mapping[str, Any]) -> KernelLine:
    return KernelLine(
        name=text(entry["name"]),
        kind=text(entry["kind"]),
        fused=tuple(text(name) for name in items(entry["fused"])),
        shape=_shape(entry["shape"]),
        flash_bytes=natural(entry["flash_bytes"]),
        macs=natural(entry["macs"]),
        latency_ms=amount(entry["latency_ms"]),
        live={text(name): natural(size) for name, size in entry["live"].items()},
        reads=tuple(text(name) for name in items(entry["reads"])),
        writes=text(entry["writes"]),
    )


def _shape(entry: Any) -> tuple[int, ...]:
    channels, *extent = (natural(size) for size in items(entry))
    return channels, *extent
