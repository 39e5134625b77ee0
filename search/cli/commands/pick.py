"""`paring pick`: the best model for a device or a budget, as files and in MLflow's registry."""

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from pruning.budget import parse_margin
from pruning.export.formats import FORMATS, Format
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.options import c_name, place, wanted
from search.config.parse import checked_name, flag
from search.config.registered import registered
from search.errors import ConfigError
from search.results.best import best_trial
from search.results.export import write_model
from search.results.mlflow_sync import register_model
from search.study.study import Study
from tracking.errors import TrackingError
from tracking.mlflow.registry import check_names
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import duration, size


@verb("pick")
def main(config: DictConfig) -> None:
    """Run the verb."""
    form = registered(config.format, FORMATS, Format, "format")
    registers = flag(config.register, "register")
    called = c_name(config, form)
    out = place(config.out, config)
    limits, device = wanted(config)
    if not limits.limits:
        raise ConfigError(
            "pick: no device and no budget; give device=NAME, or a limit such as budget.flash=32KiB"
        )
    limits = limits.with_margins(dict.fromkeys(limits.limits, parse_margin(config.margin)))
    who = device.name if device else "best"
    alias = checked_name(config.alias or who, "alias").replace(".", "_")
    name = checked_name(config.study)
    if registers:
        check_names(alias, name)
    study = study_of(config)
    record, trial = best_trial(study, limits, device)
    files = write_model(study, record, trial, out, form, called)
    print(_said(record, trial))
    for file in files:
        print(f"written: {file}")
    if registers:
        _register(study, record, trial, files, alias)


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
    try:
        version = register_model(study, record, trial, files, alias)
    except TrackingError as error:
        print(f"paring: written, but not registered: {error}", file=sys.stderr)
    else:
        print(f"registered: {record.name} version {version} as @{alias}")
