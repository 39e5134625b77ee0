"""A web hook is told how a sweep ended; none that fails can end one."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from search.errors import ConfigError
from search.notify import checked_url, notify
from search.orders import Order
from search.situation import Situation

NOW = Situation(
    study="a", order=Order.GO, why="", trials={"complete": 2}, failures={}, workers=[],
    hypervolume=0.5, slots_per_hour=None, left_s=None,
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


def test_a_hook_is_told(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/secret"
    assert notify(url, "is complete", NOW) == (hook.status == 200)
    (told,) = hook.told
    assert told["text"] == "paring: study a is complete"
    assert told["hypervolume"] == 0.5
    assert told["trials"] == {"complete": 2}
    assert ("HTTP Error 500" in caplog.text) == (hook.status == 500)
    assert "secret" not in caplog.text


def test_one_that_is_not_there_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert not notify("http://127.0.0.1:9/secret", "is complete", NOW)
    assert "notify.url at 127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


def test_only_web_addresses_are_taken():
    assert checked_url(None) is None
    assert checked_url("https://example.org/x") == "https://example.org/x"
    for url in ("file:///etc/passwd", "example.org", "ftp://example.org"):
        with pytest.raises(ConfigError, match=r"notify\.url"):
            checked_url(url)
