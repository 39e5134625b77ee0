"""What `paring pick` gives for every device that paring knows, and for a study's own."""

from collections.abc import Sequence
from dataclasses import replace

from pruning.budget import Budget, Device
from pruning.catalogue.devices import devices
from pruning.cost.forms import overhead
from pruning.cost.model import Encoding
from search.errors import NothingFitsError
from search.results.front import Point, best_within
from search.study.limits import device_record
from tracking.records import PickRecord


def picks(
    points: Sequence[Point], own: Device, encoding: Encoding, rises: bool
) -> tuple[PickRecord, ...]:
    """The choice for each device, the smallest first; `own` is the one that points are for."""
    known, form = devices(), " format=c" if encoding is Encoding.C else ""
    choices = [(device, f"device={device.name}") for device in known]
    if not any(_alike(own, device) for device in known):
        limits = own.budget
        sizes = f"budget.flash={limits.flash_bytes} budget.sram={limits.sram_bytes}"
        choices.append((own, sizes))
    choices.sort(key=lambda choice: _room(choice[0].budget))
    cores = {device.core for device, _ in choices}
    on = {core: _on(core, points, own, encoding) for core in cores}
    return tuple(
        PickRecord(
            device=device_record(device),
            trial=_best(on[device.core], encoding.guarded(device.budget, device), rises),
            words=f"{words}{form}",
        )
        for device, words in choices
    )


def _alike(one: Device, other: Device) -> bool:
    """Whether two devices leave a network the same room under one name."""
    return (one.name, one.core, one.budget) == (other.name, other.core, other.budget)


def _room(limits: Budget) -> tuple[int, int]:
    return limits.flash_bytes or 0, limits.sram_bytes or 0


def _on(core: str, points: Sequence[Point], own: Device, encoding: Encoding) -> list[Point]:
    """Points as another core has them: its functions take more or less flash. Latency is still
    that of `own`: no device limits it.
    """
    more = overhead(encoding, core, 1) - overhead(encoding, own.core, 1)
    return [
        replace(point, cost=replace(point.cost, flash_bytes=point.cost.flash_bytes + more))
        for point in points
    ]


def _best(points: Sequence[Point], limits: Budget, rises: bool) -> int | None:
    try:
        return best_within(points, limits, rises).number
    except NothingFitsError:
        return None
