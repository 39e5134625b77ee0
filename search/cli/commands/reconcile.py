"""`paring reconcile`: make MLflow agree with a sweep, from Optuna's database and the store."""

from omegaconf import DictConfig

from search.api.opened import study_of
from search.cli.app import verb
from search.results.mlflow_sync import reconcile
from search.results.report import run_ids


@verb("reconcile")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    written = reconcile(study)
    print(
        f"study {study.name}: {len(study.trials())} trials, {len(run_ids(study))} runs agree; "
        f"{written.created} created, {written.changed} corrected, {written.deleted} deleted"
    )
