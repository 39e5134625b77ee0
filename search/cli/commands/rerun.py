"""`paring rerun`: train a finished trial again, and compare every stored number."""

import json
import sys
from dataclasses import asdict

import torch
from omegaconf import DictConfig

from search.api.opened import study_of
from search.cli.app import verb
from search.cli.options import choose, trial_number
from search.errors import ConfigError
from search.results.rerun import Again, rerun, threads_of


@verb("rerun")
def main(config: DictConfig) -> None:
    """Run the verb."""
    output = choose(config.output, "output", ("table", "json"))
    number, threads = trial_number(config.trial), config.threads
    if type(threads) is not int or threads < 0:
        raise ConfigError(f"threads={threads}: write a number; 0 takes as many as the trial had")
    study = study_of(config)
    torch.set_num_threads(threads or threads_of(study, number))
    for record in rerun(study, number):
        if isinstance(record, Again):
            _report(record, output)
        else:
            print(f"epoch {record.epoch}: score {record.score:.4f}", file=sys.stderr)


def _report(again: Again, output: str) -> None:
    """Say what differs; the exit code is 1 if anything does."""
    if output == "json":
        print(json.dumps(asdict(again), indent=1))
    else:
        found = len(again.differences)
        print(f"trial {again.trial}: {again.compared} numbers compared, {found} differ")
        if found and (again.threads_then, again.threads_now) != (1, 1):
            print(
                f"  trained with {again.threads_then} torch threads, now with "
                f"{again.threads_now}: only one thread repeats exactly"
            )
        for each in again.differences:
            print(f"  {each.where}: stored {each.stored}, now {each.now}")
    if again.differences:
        raise SystemExit(1)
