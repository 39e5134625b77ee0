"""A web hook is told how a sweep ended; none that fails can end one."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.config.parse import http_address
from search.errors import ConfigError
from search.results.notify import notify
from search.results.status import StudyStatus
from search.study.command import Command

NOW = StudyStatus(
    study="a", command=Command.GO, why="", trials={"complete": 2}, failures={}, workers=[],
    hypervolume=0.5, trials_per_hour=None, left_s=None,
)  # fmt: skip


class Hook(http.server.ThreadingHTTPServer):
    """Keeps what it is told, and answers with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Told)
        self.status, self.told = status, list[dict[str, object]]()


class Told(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(params=[200, 500])
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    server = Hook(request.param)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_hook_is_told(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/secret"
    assert notify(url, "is complete", NOW) == (hook.status == 200)
    (told,) = hook.told
    assert told["text"] == "paring: study a is complete"
    assert told["hypervolume"] == 0.5
    assert told["trials"] == {"complete": 2}
    assert ("it answered 500" in caplog.text) == (hook.status == 500)
    assert "secret" not in caplog.text


def test_one_that_is_not_there_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert not notify("http://127.0.0.1:9/secret", "is complete", NOW)
    assert "notify.url at 127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("answer", [b"nonsense\n\n", b"HTTP/1.1 200 " + b"x" * 70000, b""])
def test_one_that_answers_anything_is_only_warned_of(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer, args=(server, answer), daemon=True)
        thread.start()
        assert not notify(f"http://127.0.0.1:{server.getsockname()[1]}/secret", "is over", NOW)
        thread.join()
    assert "notify.url at 127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


def _answer(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(answer)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/SECRET", "example.org/SECRET", "localhost:5000", "ftp://example.org/SECRET",
        "http://127.0.0.1:9/SECRET x", "http://[SECRET/", "http://:80/SECRET", "http:///SECRET",
        "http://host:SECRET/", "http://host/SECRET\n", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("setting", ["notify.url", "storage.tracking_uri"])
def test_only_web_addresses_are_taken(url: str, setting: str) -> None:
    assert http_address(None, setting) is None
    assert http_address("https://example.org/x", setting) == "https://example.org/x"
    assert http_address("http://127.0.0.1:5000", setting) == "http://127.0.0.1:5000"
    with pytest.raises(ConfigError, match=setting) as refused:
        http_address(url, setting)
    assert "SECRET" not in str(refused.value)


@pytest.mark.slow
def test_both_are_refused_before_a_sweep_begins(paring: Any, tmp_path: Path) -> None:
    for setting in ("notify.url", "storage.tracking_uri"):
        code, _, said = paring(
            "sweep", "study=a", f"storage.folder={tmp_path}", f"{setting}='localhost/SECRET'"
        )
        assert code == 2
        assert setting in said
        assert "SECRET" not in said
    assert not (tmp_path / "optuna.db").exists()
