"""`paring export`: one finished trial's model as files."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from pruning.errors import OutputError
from pruning.export.formats import FORMATS, Format
from pruning.export.network_files import write_network
from search.api.opened import study_of
from search.cli.app import verb
from search.cli.options import c_name, place, trial_number
from search.config.registered import registered
from search.config.schema import StorageConfig
from search.config.validate import validated
from search.errors import ConfigError, StoreError, UnreadableError
from search.results.export import finished_trial, write_model, write_pages
from search.results.report import study_record
from search.storage.workspace import tracking_uri_of
from tracking.errors import TrackingError
from tracking.mlflow.fetch import network_of


@verb("export")
def main(config: DictConfig) -> None:
    """Run the verb."""
    form = registered(config.format, FORMATS, Format, "format")
    called = c_name(config, form)
    out = place(config.out, config)
    match [name for name in ("study", "run", "file") if config[name] is not None]:
        case ["study"]:
            _of_study(config, trial_number(config.trial), out, form, called)
        case ["run"]:
            uri = tracking_uri_of(validated(config.storage, StorageConfig, "storage"))
            run = str(config.run)
            _write(network_of(uri, run), out, form, called, f"From run {run} in MLflow.")
        case ["file"]:
            content = _read(Path(str(config.file)))
            _write(content, out, form, called, f"From {Path(str(config.file)).name}.")
        case _:
            raise ConfigError(
                "export: of what? Give one of study=NAME trial=NUMBER, run=ID of a run in MLflow, "
                "or file=model.safetensors"
            )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"file={file}: {error.strerror}; give a network's file") from error


def _write(content: bytes, out: Path, form: Format, name: str, origin: str) -> None:
    for file in write_network(content, out, form, name, origin):
        print(f"written: {file}")


def _of_study(config: DictConfig, number: int, out: Path, form: Format, called: str) -> None:
    study = study_of(config)
    record = study_record(study)
    trial = finished_trial(record, number)
    for file in write_model(study, record, trial, out, form, called):
        print(f"written: {file}")
    try:
        for file in write_pages(study, record, trial, out):
            print(f"written: {file}")
    except (StoreError, UnreadableError, OutputError, TrackingError) as error:
        # The model is good without them.
        print(f"paring: why.html and evaluation.html were not written: {error}", file=sys.stderr)
