import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from tracking import BusyError, Databases, UnreachableError, locate, lock, prepare

_HOLD = """
import sys, time
from tracking import locate, lock
with lock(locate(sys.argv[1], sys.argv[2]), "mirror"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def ready(bare: Databases) -> Databases:
    prepare(bare)
    return bare


def location(databases: Databases) -> str:
    if databases.folder is not None:
        return str(databases.folder)
    return databases.optuna.partition("?")[0]


def test_only_one_holds_it(ready: Databases) -> None:
    with lock(ready, "mirror"):
        with pytest.raises(BusyError, match="'mirror'"), lock(ready, "mirror", timeout=0):
            pytest.fail("two hold it")
        with (
            pytest.raises(BusyError, match=r"after 0\.1 s"),
            lock(ready, "mirror", timeout=0.1),
        ):
            pytest.fail("two hold it")
    with lock(ready, "mirror", timeout=0):
        pass


def test_other_names_and_projects_are_free(ready: Databases, tmp_path: Path) -> None:
    other = locate(tmp_path / "other")
    with lock(ready, "a/b"), lock(ready, "a b", timeout=0), lock(other, "a/b", timeout=0):
        pass


def test_a_killed_holder_lets_go(ready: Databases) -> None:
    arguments = [sys.executable, "-c", _HOLD, location(ready), ready.schema]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError), lock(ready, "mirror", timeout=0):
            pytest.fail("two hold it")
        holder.kill()
        with lock(ready, "mirror", timeout=30):
            pass


@pytest.mark.slow
def test_waiting_ends_when_the_holder_ends(ready: Databases) -> None:
    script = _HOLD.replace("600", "0.3")
    arguments = [sys.executable, "-c", script, location(ready), ready.schema]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with lock(ready, "mirror", timeout=None):
            pass
    assert holder.returncode == 0


def test_errors_of_the_block_pass_through_and_free_it(ready: Databases) -> None:
    error = OperationalError("SELECT", {}, Exception("of the caller"))
    with pytest.raises(OperationalError, match="of the caller"), lock(ready, "mirror"):
        raise error
    with lock(ready, "mirror", timeout=0):
        pass


def test_an_unreachable_database_is_reported() -> None:
    with (
        pytest.raises(UnreachableError, match="PGPASSWORD"),
        lock(locate("postgresql://127.0.0.1:1/test"), "mirror"),
    ):
        pytest.fail("nobody is there")


def test_a_folder_below_a_file_is_reported(tmp_path: Path) -> None:
    found = locate(tmp_path / "file" / "below")
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="lock file"), lock(found, "mirror"):
        pytest.fail("there is no folder")
