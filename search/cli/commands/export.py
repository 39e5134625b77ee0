"""`paring export`: one finished trial's model as files."""

import sys

from omegaconf import DictConfig

from search.cli.app import verb
from search.cli.options import c_name, place, trial_number
from search.config.parse import checked_name
from search.config.registered import registered
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.errors import ConfigError, StoreError
from search.results.export import finished_trial, write_model, write_why
from search.results.formats import FORMATS, Format
from search.results.report import study_record
from search.storage.workspace import open_workspace
from search.study.study import require_study
from tracking.errors import TrackingError


@verb("export")
def main(config: DictConfig) -> None:
    """Run the verb."""
    form = registered(config.format, FORMATS, Format, "format")
    number = trial_number(config.trial)
    called = c_name(config, form)
    out = place(config.out, config)
    name = checked_name(config.study)
    workspace = open_workspace(validated(config.storage, StorageConfig, "storage"), create=False)
    study = require_study(workspace, name)
    record = study_record(study)
    trial = finished_trial(record, number)
    for file in write_model(study, record, trial, out, form, called):
        print(f"written: {file}")
    try:
        print(f"written: {write_why(study, record, trial, out)}")
    except (StoreError, ConfigError, TrackingError) as error:  # the model is good without it
        print(f"paring: why.html was not written: {error}", file=sys.stderr)
