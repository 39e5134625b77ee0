"""`paring export`: one finished trial's model as files."""

import sys

from omegaconf import DictConfig

from pruning.errors import OutputError
from pruning.export.formats import FORMATS, Format
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.options import c_name, place, trial_number
from search.config.registered import registered
from search.errors import StoreError
from search.results.export import finished_trial, write_model, write_why
from search.results.report import study_record
from tracking.errors import TrackingError


@verb("export")
def main(config: DictConfig) -> None:
    """Run the verb."""
    form = registered(config.format, FORMATS, Format, "format")
    number = trial_number(config.trial)
    called = c_name(config, form)
    out = place(config.out, config)
    study = study_of(config)
    record = study_record(study)
    trial = finished_trial(record, number)
    for file in write_model(study, record, trial, out, form, called):
        print(f"written: {file}")
    try:
        print(f"written: {write_why(study, record, trial, out)}")
    except (StoreError, OutputError, TrackingError) as error:  # the model is good without it
        print(f"paring: why.html was not written: {error}", file=sys.stderr)
