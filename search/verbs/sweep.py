"""`paring sweep`: create or continue a study, run local workers, show how it goes."""

import signal
import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from search import crew, sweep
from search.config import AcceleratorConfig, Spec, StorageConfig, call_from, cross
from search.display import progress
from search.home import open_home
from search.verb import verb

NEUTRAL = ("study", "trials", "workers", "storage", "debug", "accelerator.threads", "hydra")


@verb("sweep")
def main(config: DictConfig) -> None:
    """Run the verb."""
    call = call_from(config)
    name = call.study
    spec = Spec.from_config(config)
    accelerator = cross(config.accelerator, AcceleratorConfig, "accelerator")
    home = open_home(cross(config.storage, StorageConfig, "storage"))
    study = sweep.prepare(home, name, spec if _asks_for_something() else None, call.trials)
    threads = crew.threads_for(call.workers, accelerator.threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # workers hand their slots back
    with progress(study) as display:
        for _ in crew.run(study, call.workers, threads):
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
