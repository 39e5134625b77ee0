"""`paring sweep`: create or continue a study, run local workers, show how it goes."""

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from search.api.running import begin, others, run
from search.cli.app import verb
from search.results.report import counts
from search.study.command import Command
from search.study.control import current_command
from search.study.study import Study
from search.study.study_record import VariantFacts
from search.worker.interrupts import INTERRUPTED, interruptible
from tracking.tables import size

STOP_S = 9.0  # after a signal, all told
RESUME = "resume it with  paring resume study={}"


@verb("sweep")
def main(config: DictConfig) -> None:
    """Run the verb."""
    with interruptible(STOP_S):
        sweep = begin(config, list(HydraConfig.get().overrides.task))
        study = sweep.study
        _say_if_it_fits(study)
        if current_command(study).command is Command.PAUSE:
            print(f"study {study.name} is paused: {RESUME.format(study.name)}", file=sys.stderr)
        run(sweep)
        _say_how_it_ended(study)


def _say_if_it_fits(study: Study) -> None:
    """Tell the caller if the device could run the network without any pruning."""
    device = study.facts.device_limits
    for variant in study.facts.all_variants:
        if device.limits and device.holds(variant.dense_cost):
            _say_that_it_fits(study, variant)


def _say_that_it_fits(study: Study, variant: VariantFacts) -> None:
    cost, device = variant.dense_cost, study.facts.device_limits
    memories = (
        ("flash", cost.flash_bytes, device.flash_bytes),
        ("SRAM", cost.sram_bytes, device.sram_bytes),
    )
    taken = ", ".join(
        f"{name} {size(amount)} of {size(limit)}"
        for name, amount, limit in memories
        if limit is not None
    )
    which, chip = variant.name and f" of {variant.name}", study.spec["device"]["name"]
    print(f"the unpruned network{which} fits {chip} as it is: {taken}", file=sys.stderr)


def _say_how_it_ended(study: Study) -> None:
    """Tell the caller, also by the exit code where the study was cancelled."""
    if current_command(study).command is Command.CANCEL:
        print(f"study {study.name} was cancelled; its finished trials stay", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    done = counts(study.trials())
    more = others(done)
    print(
        f"study {study.name} is complete: {done['complete']} of {sum(done.values())} trials have "
        f"a model{more and f' ({more})'}; see  paring front study={study.name}  and  "
        f"paring serve study={study.name}",
        file=sys.stderr,
    )
