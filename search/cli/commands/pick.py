"""`paring pick`: the best model for a device or a budget, as files and in MLflow's registry."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from omegaconf import DictConfig

from pruning.budget import Budget, Cost, Device
from pruning.cost.model import Encoding
from search.cli.app import verb
from search.cli.options import c_name, flag, place
from search.config.devices import device_from
from search.config.parse import checked_name, margin_from, one_budget
from search.config.registered import registered
from search.config.schema import BudgetConfig, DeviceConfig, StorageConfig
from search.config.validate import validated
from search.errors import ConfigError, NothingFitsError
from search.results.export import finished_trial, write_model
from search.results.formats import FORMATS, Format
from search.results.front import Point, best_within, points_of
from search.results.mlflow_sync import catch_up
from search.results.report import study_record
from search.results.retarget import record_for
from search.storage.workspace import open_workspace
from search.study.factory import SweepFactory
from search.study.limits import intersect
from search.study.study import Study, require_study
from tracking.errors import TrackingError
from tracking.mlflow.registry import check_names, register
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import duration, size


@verb("pick")
def main(config: DictConfig) -> None:
    """Run the verb."""
    form = registered(config.format, FORMATS, Format, "format")
    wanted = flag(config.register, "register")
    called = c_name(config, form)
    out = place(config.out, config)
    limits, who, device = _wanted(config)
    limits = limits.with_margins(dict.fromkeys(limits.limits, margin_from(config.margin)))
    alias = checked_name(config.alias or who, "alias").replace(".", "_")
    name = checked_name(config.study)
    if wanted:
        check_names(alias, name)
    workspace = open_workspace(validated(config.storage, StorageConfig, "storage"), create=False)
    study = require_study(workspace, name)
    record = study_record(study) if device is None else record_for(study, device)
    best = _best(study, record, limits, device)
    trial = finished_trial(record, best.number)
    files = write_model(study, record, trial, out, form, called)
    print(_said(record, trial))
    for file in files:
        print(f"written: {file}")
    if wanted:
        _register(study, record, trial, files, alias)


def _best(study: Study, record: StudyRecord, limits: Budget, device: Device | None) -> Point:
    """The best point whose firmware will be within the limits, not its estimate alone.

    Raises:
        NothingFitsError: there is none.
    """
    factory = SweepFactory(study.spec)
    guard = factory.encoding is Encoding.C
    guarded = (device or factory.device).guarded(limits) if guard else limits
    try:
        return best_within(_points(study, record), guarded, study.facts.rises)
    except NothingFitsError as error:
        why = " These limits are reduced by the margin of the estimates."
        raise NothingFitsError(f"{error}{why if guarded != limits else ''}") from error


def _points(study: Study, record: StudyRecord) -> list[Point]:
    """The finished trials with the costs of the record."""
    costs = {trial.number: trial.costs for trial in record.trials}
    return [
        replace(point, cost=Cost(**asdict(known))) if (known := costs[point.number]) else point
        for point in points_of(study)
    ]


def _wanted(config: DictConfig) -> tuple[Budget, str, Device | None]:
    """What the model must stay within, a name for it, and for which device it is."""
    budget = validated(config.budget, BudgetConfig, "budget")
    if config.device is None:
        limits = one_budget(budget)
        if not limits.limits:
            raise ConfigError(
                "pick: no device and no budget; give device=NAME, or a limit such as "
                "budget.flash=32KiB"
            )
        return limits, "best", None
    device = device_from(validated(config.device, DeviceConfig, "device"))
    return intersect(one_budget(budget), device.budget), device.name, device


def _said(record: StudyRecord, trial: TrialRecord) -> str:
    costs = trial.known_costs
    return (
        f"trial {trial.number}: {record.metric} {trial.score:.4f}, "
        f"flash {size(costs.flash_bytes)}, SRAM {size(costs.sram_bytes)}, "
        f"{duration(costs.latency_ms)}{f' on {record.device.name}' if record.device else ''} "
        "(estimated)"
    )


def _register(
    study: Study, record: StudyRecord, trial: TrialRecord, files: Sequence[Path], alias: str
) -> None:
    """Into MLflow's registry; files stay when MLflow is out of reach."""
    obstacle = catch_up(study)
    if obstacle is None:
        try:
            version = register(
                study.workspace.tracking_uri, record, trial, files, alias, record.name
            )
        except TrackingError as error:
            obstacle = str(error)
        else:
            print(f"registered: {record.name} version {version} as @{alias}")
    if obstacle is not None:
        print(f"paring: written, but not registered: {obstacle}", file=sys.stderr)
