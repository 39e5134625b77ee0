"""MLflow's tables in a new SQLite file: all of them or none.

MLflow builds its tables by dozens of migrations, which SQLite does not undo when the process is
killed among them; the file would be of no use for ever. So they are built aside, and the file
is renamed into its place when it is whole. (PostgreSQL undoes them by itself.)
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from sqlalchemy import make_url

from tracking.databases.database import Content, check


def ensure_tables(mlflow_url: str) -> None:
    """Make MLflow's tables if the database is a SQLite file without any.

    Raises:
        DatabaseError: the database cannot be used.
    """
    url = make_url(mlflow_url)
    if check(mlflow_url, "MLflow") is Content.OURS or url.get_backend_name() != "sqlite":
        return
    path = Path(url.database or "")
    with FileLock(f"{path}.lock"):
        if check(mlflow_url, "MLflow") is Content.EMPTY:  # nobody was quicker
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
