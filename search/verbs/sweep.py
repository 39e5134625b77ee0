"""`paring sweep`: create or continue a study, run local workers, show how it goes."""

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from search import sweep
from search.config import Spec, StorageConfig, checked_name, cross
from search.display import progress
from search.errors import ConfigError
from search.study import open_home
from search.verb import verb

NEUTRAL = ("study", "trials", "workers", "storage", "debug", "accelerator.threads", "hydra")


@verb("sweep")
def main(config: DictConfig) -> None:
    """Run the verb."""
    name = checked_name(config.study)
    workers = int(config.workers)
    if workers < 1:
        raise ConfigError(f"workers={workers}: at least 1; others can join with paring worker")
    if config.trials is not None and int(config.trials) < 1:
        raise ConfigError(f"trials={config.trials}: at least 1")
    home = open_home(cross(config.storage, StorageConfig, "storage"))
    spec = Spec.from_config(config) if _asks_for_something() else None
    study = sweep.prepare(home, name, spec, config.trials)
    threads = sweep.threads_for(workers, config.accelerator.threads)
    with progress(study) as display:
        for _ in sweep.run(study, workers, threads):
            display()
    print(
        f"study {name} is complete: see it with  paring front study={name}  and  "
        f"paring serve study={name}",
        file=sys.stderr,
    )


def _asks_for_something() -> bool:
    """Whether any override decides the result; without one, a stored study just continues."""
    keys = [o.lstrip("+~").split("=")[0] for o in HydraConfig.get().overrides.task]
    return any(not key.startswith(NEUTRAL) for key in keys)
