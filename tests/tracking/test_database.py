import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from sqlalchemy import text

from tracking import (
    Content,
    Databases,
    ForeignError,
    LockedError,
    UnreachableError,
    check,
    locate,
    prepare,
)
from tracking.databases.database import connected


def run(url: str, *statements: str) -> None:
    with connected(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_prepare_makes_both_and_can_be_repeated(bare: Databases) -> None:
    prepare(bare)
    prepare(bare)
    assert check(bare.optuna, "Optuna") is Content.EMPTY
    assert check(bare.mlflow, "MLflow") is Content.EMPTY
    run(bare.optuna, "CREATE TABLE studies (a int)")
    run(bare.mlflow, "CREATE TABLE runs (a int)")


def test_what_does_not_exist_yet_is_empty(bare: Databases) -> None:
    assert check(bare.optuna, "Optuna") is Content.EMPTY
    assert bare.folder is None or not bare.folder.exists()


def test_real_tables_are_ours(bare: Databases) -> None:
    prepare(bare)
    optuna.storages.RDBStorage(bare.optuna).engine.dispose()
    assert check(bare.optuna, "Optuna") is Content.OURS
    with pytest.raises(ForeignError, match="holds Optuna's"):
        check(bare.optuna, "MLflow")


@pytest.mark.slow
def test_mlflows_tables_are_ours_for_mlflow_only(store: Any) -> None:
    url = store.mlflow
    assert check(url, "MLflow") is Content.OURS
    with pytest.raises(ForeignError, match="holds MLflow's"):
        check(url, "Optuna")


def test_half_made_tables_are_ours(bare: Databases) -> None:
    prepare(bare)
    run(bare.optuna, "CREATE TABLE studies (a int)")
    run(bare.mlflow, "CREATE TABLE experiments (a int)")
    prepare(bare)
    assert check(bare.optuna, "Optuna") is check(bare.mlflow, "MLflow") is Content.OURS


def test_both_in_one_is_refused(bare: Databases) -> None:
    prepare(bare)
    for name in ("studies", "trials", "experiments", "runs"):
        run(bare.optuna, f"CREATE TABLE {name} (a int)")
    with pytest.raises(ForeignError, match="MLflow's too"):
        check(bare.optuna, "Optuna")


@pytest.mark.parametrize("owner", ["Optuna", "MLflow"])
def test_another_programs_tables_are_refused_untouched(bare: Databases, owner: str) -> None:
    url = bare.optuna if owner == "Optuna" else bare.mlflow
    prepare(bare)
    run(url, "CREATE TABLE customers (a int)", "INSERT INTO customers VALUES (7)")
    with pytest.raises(ForeignError, match=r"another program's \(customers\).*choose"):
        prepare(bare)
    with connected(url) as connection:
        assert connection.execute(text("SELECT a FROM customers")).scalar() == 7


@pytest.mark.parametrize(
    ("owner", "table", "version"),
    [("Optuna", "studies", "0c779009ac13"), ("MLflow", "runs", "v3.0.0.a")],
)
def test_foreign_migrations_are_refused(
    bare: Databases, owner: str, table: str, version: str
) -> None:
    url = bare.optuna if owner == "Optuna" else bare.mlflow
    prepare(bare)
    run(
        url,
        f"CREATE TABLE {table} (a int)",
        "CREATE TABLE alembic_version (version_num varchar(32))",
        f"INSERT INTO alembic_version VALUES ('{version}')",
    )
    with pytest.raises(ForeignError, match=f"alembic_version {version}"):
        check(url, owner)


def test_a_file_that_is_no_database_is_foreign(tmp_path: Path) -> None:
    found = locate(tmp_path)
    (tmp_path / "optuna.db").write_bytes(b"not a database, but long enough to be read" * 99)
    with pytest.raises(ForeignError, match="not a SQLite database"):
        prepare(found)


def test_a_locked_file_is_reported(tmp_path: Path) -> None:
    found = locate(tmp_path)
    holder = sqlite3.connect(tmp_path / "optuna.db", isolation_level=None)
    holder.execute("CREATE TABLE studies (a int)")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedError, match="locked by another program"):
        check(found.optuna, "Optuna", patience=0.1)
    holder.close()
    assert check(found.optuna, "Optuna") is Content.OURS


def test_a_locked_table_is_reported(bare_postgres: Databases, postgres_location: str) -> None:
    prepare(bare_postgres)
    run(bare_postgres.optuna, "CREATE TABLE studies (a int)")
    run(bare_postgres.optuna, "CREATE TABLE alembic_version (version_num varchar(32))")
    plain = postgres_location.replace("+psycopg", "")
    with psycopg.connect(plain) as holder:
        table = f"{bare_postgres.schema}_optuna.alembic_version"
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        with pytest.raises(LockedError, match="lock"):
            check(bare_postgres.optuna, "Optuna", patience=0.1)


def test_a_schema_made_by_another_at_the_same_moment_is_used(
    bare_postgres: Databases, postgres_location: str
) -> None:
    plain = postgres_location.replace("+psycopg", "")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(plain) as other:
        other.execute(f"CREATE SCHEMA {bare_postgres.schema}_mlflow".encode())
        preparing = pool.submit(prepare, bare_postgres)
        with psycopg.connect(plain, autocommit=True) as watch:
            while not watch.execute(
                f"{waiting} AND query LIKE '%{bare_postgres.schema}%'".encode()
            ).fetchall()[0][0]:
                assert not preparing.done()
        other.commit()
        preparing.result()
    assert check(bare_postgres.mlflow, "MLflow") is Content.EMPTY


def test_nobody_at_the_port_is_reported() -> None:
    with pytest.raises(UnreachableError, match=r"schema paring_optuna.*PGPASSWORD"):
        prepare(locate("postgresql://127.0.0.1:1/test"))


def test_a_database_that_does_not_exist_is_reported(postgres_location: str) -> None:
    location = postgres_location.rpartition("/")[0] + "/paring_no_such_database"
    with pytest.raises(UnreachableError, match="createdb"):
        prepare(locate(location))


def test_a_folder_below_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="cannot be made"):
        prepare(locate(tmp_path / "file" / "paring"))
