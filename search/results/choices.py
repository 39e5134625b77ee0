"""What `paring pick` can choose, for every device that paring knows and within any limits."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

from pruning.budget import RESOURCES, Budget, Device
from pruning.catalogue.devices import devices
from pruning.cost.model import Encoding
from pruning.errors import CheckpointError
from pruning.export.stored_model import MODEL
from search.errors import StoreError
from search.results.front import Point, planes, ranked
from search.results.report import points_in
from search.results.retarget import CostsElsewhere, is_same_device
from search.study.factory import SweepFactory
from search.study.limits import device_record
from search.study.study import Study
from tracking.records import (
    ChoicesRecord,
    Costs,
    Limits,
    OptionRecord,
    StudyRecord,
    TrialRecord,
)

log = logging.getLogger("paring.choices")
ANY, OWN = "any", "own"  # keys where no device of the catalogue is named


@final
class Choices:
    """Tells what can be chosen of a study, and remembers what its networks cost: a blob never
    changes.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._own = SweepFactory(study.spec).device
        self._elsewhere = CostsElsewhere(study)
        self._known: dict[str, tuple[Costs, ...]] = {}  # by digest, in the order of `devices`
        self._last: tuple[object, tuple[ChoicesRecord, ...]] = (None, ())
        self._dense: dict[str, tuple[Costs, ...]] = {}  # likewise, by variant

    def of(self, record: StudyRecord) -> tuple[ChoicesRecord, ...]:
        """The choices for the study's own device by limits alone, then for each device by name,
        the smallest first. `record` holds estimates for the own one.

        A trial whose network is missing or damaged can be chosen for no other device: that is
        logged once.
        """
        finished = [trial for trial in record.trials if trial.costs]
        asked = (
            record.dense,
            [(t.number, t.score, t.costs, t.finished, t.files.get(MODEL)) for t in finished],
        )
        if asked != self._last[0]:
            self._last = (asked, self._new(record))
        return self._last[1]

    def _new(self, record: StudyRecord) -> tuple[ChoicesRecord, ...]:
        others = {trial.number: self._costs(trial) for trial in record.trials if trial.costs}
        for one in record.dense:
            if one.name not in self._dense:
                self._dense[one.name] = self._elsewhere.dense(one, devices())
        unpruned = [self._dense[one.name] for one in record.dense]
        entries = [self._limits_alone(record, ANY, Budget())]
        entries += [
            self._named(
                record,
                device,
                {number: costs[place] for number, costs in others.items() if costs},
                tuple(costs[place] if costs else None for costs in unpruned),
            )
            for place, device in enumerate(devices())
        ]
        if not any(_alike(self._own, device) for device in devices()):
            entries.append(self._limits_alone(record, OWN, self._own.budget))
        return tuple(sorted(entries, key=_room))

    def _costs(self, trial: TrialRecord) -> tuple[Costs, ...]:
        """What a trial's network costs on each device of the catalogue; nothing if it is lost."""
        digest = trial.files.get(MODEL)
        if digest is not None and digest not in self._known:
            try:
                self._known[digest] = self._elsewhere.of(digest, devices())
            except (StoreError, CheckpointError) as error:
                self._known[digest] = ()
                log.warning("trial %d cannot be chosen for another device: %s", trial.number, error)
        return () if digest is None else self._known[digest]

    def _named(
        self,
        record: StudyRecord,
        device: Device,
        costs: Mapping[int, Costs],
        dense: tuple[Costs | None, ...],
    ) -> ChoicesRecord:
        if is_same_device(self._own, device):
            costs, dense = _own_costs(record)
        return self._choices(record, device, device.name, costs, dense)

    def _limits_alone(self, record: StudyRecord, key: str, limits: Budget) -> ChoicesRecord:
        choices = self._choices(record, self._own, key, *_own_costs(record))
        return replace(choices, device=device_record(self._own, limits), is_named=False)

    def _choices(
        self,
        record: StudyRecord,
        device: Device,
        key: str,
        costs: Mapping[int, Costs],
        dense: tuple[Costs | None, ...],
    ) -> ChoicesRecord:
        facts, encoding = self._study.facts, self._study.facts.precision.encoding
        trials = [
            replace(trial, costs=costs[trial.number])
            for trial in record.trials
            if trial.number in costs
        ]
        points = points_in(trials, facts.device_limits)
        named = () if key in (ANY, OWN) else (f"device={device.name}",)
        form = ("format=c",) if encoding is Encoding.C else ()
        return ChoicesRecord(
            key=key,
            device=device_record(device),
            words=" ".join((*named, *form)),
            is_named=bool(named),
            options=tuple(
                OptionRecord(
                    trial=point.number,
                    costs=costs[point.number],
                    needed=_needed(point, encoding.margins(device)),
                )
                for point in ranked(points, facts.rises)
            ),
            fronts=_fronts(points, facts.rises),
            dense=dense,
        )


def _own_costs(record: StudyRecord) -> tuple[dict[int, Costs], tuple[Costs, ...]]:
    """What the trials and the dense networks of a record cost, by its own numbers."""
    costs = {trial.number: trial.costs for trial in record.trials if trial.costs}
    return costs, tuple(dense.costs for dense in record.dense)


def _alike(one: Device, other: Device) -> bool:
    """Whether two devices leave a network the same room under one name."""
    return (one.name, one.core, one.budget) == (other.name, other.core, other.budget)


def _needed(point: Point, margins: Device | None) -> Limits:
    """The least limits that admit a point."""
    cost = point.cost
    if margins is None:
        return Limits(
            flash_bytes=cost.flash_bytes, sram_bytes=cost.sram_bytes, latency_ms=cost.latency_ms
        )
    return Limits(
        flash_bytes=int(margins.needed("flash_bytes", cost.flash_bytes)),
        sram_bytes=int(margins.needed("sram_bytes", cost.sram_bytes)),
        latency_ms=margins.needed("latency_ms", cost.latency_ms),
    )


def _fronts(points: Sequence[Point], rises: bool) -> dict[str, tuple[int, ...]]:
    """The trials on the front of score against each resource, the smallest first."""
    on = planes(points, rises)
    return {
        name: tuple(
            point.number
            for point in sorted(points, key=lambda p: (getattr(p.cost, name), p.number))
            if name in on[point.number]
        )
        for name in RESOURCES
    }


def _room(choices: ChoicesRecord) -> tuple[bool, int, int]:
    limits = choices.device.limits
    return choices.key != ANY, limits.flash_bytes or 0, limits.sram_bytes or 0


def with_choices(study: Study, record: StudyRecord, choices: Choices | None = None) -> StudyRecord:
    """A record with everything that can be chosen; `choices` remembers earlier answers."""
    return replace(record, choices=(choices or Choices(study)).of(record))
