"""A report for a colleague: a study, the best model within limits, and how it is had again."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from pruning.budget import RESOURCES, Budget, Device
from pruning.catalogue.devices import devices
from pruning.errors import PruningError
from pruning.export.files import write_all, write_own
from pruning.export.stored_model import MODEL
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.errors import SearchError
from search.results.best import best_trial
from search.results.retarget import is_same_device
from search.study.factory import SweepFactory
from search.study.limits import limits_of
from search.study.study import Study
from search.study.variants import Variants, facts_of
from tracking.evaluation import Evaluation
from tracking.pages.page import BEGINNING
from tracking.pages.printing import browser, printed
from tracking.pages.report import DataRecord, ReportRecord, report_page
from tracking.records import Limits, TrialRecord

log = logging.getLogger("paring.report")
PDF = ".pdf"
ARGUMENTS = dict(zip(RESOURCES, ("flash", "sram", "latency"), strict=True))


def model_report(study: Study, limits: Budget, device: Device | None, margin: float = 0.0) -> str:
    """The page on the model that `paring pick` gives for the same limits, device and margin; with
    neither a device nor a limit, for the study's own device.

    Raises:
        NothingFitsError: there is none; the message names the nearest.
    """
    own = SweepFactory(study.spec).device
    asked = limits if limits.limits else own.budget
    within = asked.with_margins(dict.fromkeys(asked.limits, margin))
    record, trial = best_trial(study, within, device)
    network = unpack_network(study.workspace.store.read(trial.files[MODEL]))
    held = study.facts.precision.encoding.guarded(within, device or own)
    report = ReportRecord(
        data=_data(study, network, trial),
        asked=Limits(**limits_of(asked)),
        held=Limits(**limits_of(held)),
        command=_command(study, asked, device or _named(own, asked), margin),
        version=version("paring"),
    )
    return report_page(record, trial, report)


def write_report(file: Path, page: str) -> Path:
    """Write a report as HTML, or as PDF if the name ends so; returns the file.

    Raises:
        OutputError: a file of somebody else is in the way. PrintingError: there is no browser that
            prints.
    """
    if file.suffix.lower() == PDF:
        write_all(file.parent, {file.name: printed(page, browser())})
    else:
        write_own(file, page, BEGINNING)
    return file


def _data(study: Study, network: StoredNetwork, trial: TrialRecord) -> DataRecord:
    """The data, whose splits are counted if they can be loaded and are those of the study."""
    record = DataRecord(
        name=study.facts.tags.get("data", "unknown"),
        digest=facts_of(study, trial.params).data_digest,
        splits=_evaluated(trial.evaluations.values()),
        shape=tuple(network.graph.input_shape),
        dtype="of a type that is not known",
        classes=tuple(network.notes["classes"]),
    )
    try:
        data = Variants(study).of(trial.params).factory.data
    except (PruningError, SearchError) as error:
        log.warning("the samples are not counted, the data are not those of the study: %s", error)
        return record
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return replace(
        record,
        splits={name: len(split.inputs) for name, split in splits.items()},
        dtype=str(data.train.inputs.numpy().dtype),
    )


def _evaluated(evaluations: Iterable[Evaluation]) -> dict[str, int]:
    return {evaluation.split: evaluation.samples for evaluation in evaluations}


def _named(own: Device, asked: Budget) -> Device | None:
    """The study's device, if the catalogue has it and its limits are those that count."""
    known = any(one.name == own.name and is_same_device(own, one) for one in devices())
    return own if known and asked == own.budget else None


def _command(study: Study, asked: Budget, device: Device | None, margin: float) -> str:
    """The line that writes the model."""
    implied = {} if device is None else device.budget.limits
    words = ["paring pick", f"study={study.name}"]
    words += [] if device is None else [f"device={device.name}"]
    words += [
        f"budget.{ARGUMENTS[name]}={_written(name, limit)}"
        for name, limit in asked.limits.items()
        if implied.get(name) != limit
    ]
    return " ".join([*words, *([f"margin={margin}"] if margin else [])])


def _written(name: str, limit: float) -> str:
    """A limit as text that is read as just this number."""
    if name == "latency_ms":
        return f"{limit!r}ms"
    return f"{limit / 1024:g}KiB" if limit % 1024 == 0 else str(limit)
