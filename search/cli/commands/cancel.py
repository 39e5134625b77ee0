"""`paring cancel`: give up what a sweep has not finished."""

from omegaconf import DictConfig

from search.api.control import cancel
from search.api.opened import study_of
from search.cli.app import verb
from search.results.mlflow_sync import catch_up


@verb("cancel")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    if study.over():
        print(f"study {study.name} is over: there is nothing to cancel")
        return
    cancelled = cancel(study)
    print(f"study {study.name}: {len(cancelled.waiting)} waiting trials cancelled")
    if cancelled.running:
        print(
            f"trials {list(cancelled.running)} are still running: their workers have not answered. "
            "They are cancelled when the workers answer, or are known to be gone"
        )
    if (obstacle := catch_up(study)) is not None:
        print(f"MLflow is not up to date: {obstacle}; run  paring reconcile")
