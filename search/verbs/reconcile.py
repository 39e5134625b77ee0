"""`paring reconcile`: make MLflow agree with a sweep, from Optuna's database and the store."""

from omegaconf import DictConfig

from search.mirroring import reconcile
from search.report import run_ids
from search.verb import verb
from search.verbs.choices import study_of


@verb("reconcile")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    written = reconcile(study)
    print(
        f"study {study.name}: {len(study.slots())} slots, {len(run_ids(study))} runs agree; "
        f"{written.created} made, {written.changed} mended, {written.binned} binned"
    )
