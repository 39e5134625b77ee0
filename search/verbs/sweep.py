"""`paring sweep`: create or continue a study, run local workers, show how it goes."""

import signal
import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from search import crew, sweep
from search.config import AcceleratorConfig, Spec, StorageConfig, call_from, cross
from search.display import progress
from search.errors import StudyError
from search.home import open_home
from search.notify import checked_url, notify
from search.orders import Order, given
from search.situation import situation
from search.study import Study
from search.verb import verb

RESUME = "go on with  paring resume study={}"
NEUTRAL = (
    "study",
    "trials",
    "workers",
    "storage",
    "debug",
    "accelerator.threads",
    "hydra",
    "notify",
)


@verb("sweep")
def main(config: DictConfig) -> None:
    """Run the verb."""
    call = call_from(config)
    hook = checked_url(config.notify.url)
    name = call.study
    spec = Spec.from_config(config)
    accelerator = cross(config.accelerator, AcceleratorConfig, "accelerator")
    home = open_home(cross(config.storage, StorageConfig, "storage"))
    study = sweep.prepare(home, name, spec if _asks_for_something() else None, call.trials)
    threads = crew.threads_for(call.workers, accelerator.threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # workers hand their slots back
    if (order := given(study)).order is Order.PAUSE:
        print(f"study {name} is paused: {RESUME.format(name)}", file=sys.stderr)
    try:
        with progress(study) as display:
            for _ in crew.run(study, call.workers, threads):
                display()
    except Exception as error:
        _tell(hook, f"failed: {error}", study)
        raise
    order = given(study)
    _tell(
        hook,
        {Order.HALT: "was halted", Order.CANCEL: "was cancelled"}.get(
            order.order, "is complete"
        ),
        study,
    )
    if order.order is Order.HALT:
        raise StudyError(
            f"study={name}: halted, {order.why}. Mend the cause; then continue with the same "
            "command. Slots that failed stay as they are"
        )
    if order.order is Order.CANCEL:
        print(f"study {name} was cancelled; what it had finished stays", file=sys.stderr)
        raise SystemExit(130)
    print(
        f"study {name} is complete: see it with  paring front study={name}  and  "
        f"paring serve study={name}",
        file=sys.stderr,
    )


def _tell(hook: str | None, outcome: str, study: Study) -> None:
    if hook is not None:
        notify(hook, outcome, situation(study))


def _asks_for_something() -> bool:
    """Whether any override decides the result; without one, a stored study just continues."""
    keys = [o.lstrip("+~").split("=")[0] for o in HydraConfig.get().overrides.task]
    return any(not key.startswith(NEUTRAL) for key in keys)
