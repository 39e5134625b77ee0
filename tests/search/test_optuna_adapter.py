"""The parts of Optuna that are not public, and that one module relies on."""

import re
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._rdb.models import StudyUserAttributeModel, TrialModel, TrialUserAttributeModel

ROOT = Path(__file__).resolve().parents[2]
KNOWN = "5.0.0"
PRIVATE = re.compile(r"\._(storage|backend|trial_id|study_id|thread_local|get_stale_trial_ids)\b")


def test_it_is_the_release_that_was_read() -> None:
    assert optuna.__version__ == KNOWN, (
        f"Optuna {optuna.__version__}: read what search/storage/optuna_adapter.py uses of its "
        "private parts in that release, run the fault tests, then change KNOWN here and the "
        "version in pyproject.toml"
    )


def test_what_the_adapter_uses_is_there(tmp_path: Path) -> None:
    storage = _CachedStorage(RDBStorage(f"sqlite:///{tmp_path / 'a.db'}", heartbeat_interval=60))
    study = optuna.create_study(storage=storage)
    assert isinstance(study._storage, _CachedStorage)
    assert study._storage._get_stale_trial_ids(study._study_id) == []
    assert hasattr(study._thread_local, "cached_all_trials")
    for name in ("_read_trials_from_remote_storage", "_add_trials_to_cache", "_lock", "_studies"):
        assert hasattr(storage, name), name
    assert hasattr(storage._backend, "_get_trials")
    assert hasattr(storage._backend, "engine")
    assert hasattr(_StudyInfo(), "trials")
    for model in (StudyUserAttributeModel, TrialModel, TrialUserAttributeModel):
        assert model.__table__.columns
    trial = study.ask()
    assert optuna.Trial(study, trial._trial_id).number == trial.number


def test_nobody_else_uses_private_parts() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "search").rglob("*.py")
        for match in PRIVATE.finditer(path.read_text())
        if not path.read_text()[: match.start()].endswith("self")
    }
    assert users == {"search/storage/optuna_adapter.py"}
