"""What worries a worker is seen where people look."""

import subprocess
import sys
from pathlib import Path

from search.worker.logs import Troubles

LOG = """
import logging, sys
from pathlib import Path
from search.worker.logs import log_to
log_to(Path(sys.argv[1]))
log = logging.getLogger("paring.trial")
log.info("trial 1: attempt 1")
log.warning("no checkpoint now: %s", "store: cannot write 8192 bytes")
try:
    raise OSError("the camera has gone")
except OSError:
    log.exception("trial 7 failed")
log.warning("no checkpoint now: %s", "store: cannot write 4096 bytes")
print("printed by the user's code")
"""


def written(file: Path) -> None:
    subprocess.run([sys.executable, "-c", LOG, str(file)], check=True)


def test_troubles_are_told_once_each_and_nothing_else_is(tmp_path: Path) -> None:
    written(tmp_path / "worker-0.log")  # by a sweep before this one
    troubles = Troubles(tmp_path)
    assert list(troubles.news()) == []
    written(tmp_path / "worker-1.log")
    assert list(troubles.news()) == [
        "worker-1: no checkpoint now: store: cannot write 8192 bytes",
        "worker-1: trial 7 failed",
    ]
    written(tmp_path / "worker-0.log")
    assert list(troubles.news()) == []
    assert "the camera has gone" in (tmp_path / "worker-1.log").read_text()
    assert "printed by the user's code" in (tmp_path / "worker-1.log").read_text()


def test_a_line_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    file, troubles = tmp_path / "worker-0.log", Troubles(tmp_path)
    whole = "2026-01-01 00:00:00,000 ERROR paring.worker halted: no memory\n"
    file.write_text(whole[:45])
    assert list(troubles.news()) == []
    file.write_text(whole)
    assert list(troubles.news()) == ["worker-0: halted: no memory"]
