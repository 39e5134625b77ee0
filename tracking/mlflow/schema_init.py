"""MLflow's tables in a new SQLite file: all of them or none.

MLflow creates its tables by dozens of migrations, which SQLite does not roll back when the process
is killed between them; the file could never be used again. So they are created in another file,
which is renamed when it is complete. (PostgreSQL rolls them back.)
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from sqlalchemy import make_url

from tracking.databases.database import Content, check


def ensure_tables(mlflow_url: str) -> None:
    """Create MLflow's tables if the database is a SQLite file without any.

    Raises:
        DatabaseError: the database cannot be used.
    """
    url = make_url(mlflow_url)
    if check(mlflow_url, "MLflow") is Content.OURS or url.get_backend_name() != "sqlite":
        return
    path = Path(url.database or "")
    with FileLock(f"{path}.lock"):
        if check(mlflow_url, "MLflow") is Content.EMPTY:  # no other process has done so
            _build(path)


def _build(path: Path) -> None:
    # Here and not above: importing MLflow takes seconds.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    artifacts = (path.parent / "artifacts").as_uri()  # of MLflow's default experiment
    # A folder, as SQLite writes its journal beside the file.
    with TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        draft = Path(folder) / path.name
        store = SqlAlchemyStore(f"sqlite:///{draft}", artifacts)  # type: ignore[no-untyped-call]
        store.engine.dispose()
        draft.replace(path)
