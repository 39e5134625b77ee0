"""An S3 server of the tests' own, on loopback: a process that speaks HTTP."""

import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final
from urllib.error import URLError
from uuid import uuid4

import pytest
from s3fs import S3FileSystem

from tests.search.commands import free_port

PATIENCE_S = 60
KEY, SECRET = "a-key", "a-SECRET"


@final
class S3Server:
    """A server that keeps its buckets in memory, while the block runs."""

    def __init__(self, log: Path) -> None:
        self.port, self._log = free_port(), log

    def __enter__(self) -> "S3Server":
        server = Path(sys.executable).with_name("moto_server")
        command = [str(server), "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        with suppress(URLError, OSError), urllib.request.urlopen(self.url, timeout=5):
            return True
        return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server does nothing while the block runs."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def url(self) -> str:
        """Where it listens."""
        return url_of(self.port)

    def new_bucket(self) -> str:
        """The name of a new bucket."""
        name = f"b{uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200
        return name


def url_of(port: int) -> str:
    """The address of a server on a port of this machine."""
    return f"http://127.0.0.1:{port}"


@contextmanager
def s3_credentials(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process and its children find a server, and credentials, in the environment."""
    values = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # which does not know the environment
    yield
    S3FileSystem.clear_instance_cache()


@final
class Stalled:
    """A way to a server that carries so many bytes and no more, while the block runs."""

    def __init__(self, port: int, most_bytes: int) -> None:
        self._server, self._left = port, most_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.reached = threading.Event()  # that many bytes were carried
        self._done = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> "Stalled":
        threading.Thread(target=self._carry, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._listener.close()

    def _carry(self) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            with client, socket.create_connection(("127.0.0.1", self._server)) as server:
                back = threading.Thread(target=_back, args=(server, client), daemon=True)
                back.start()
                while self._left > 0 and (data := client.recv(min(self._left, 1 << 16))):
                    server.sendall(data)
                    self._left -= len(data)
                self.reached.set()
                self._done.wait()


def _back(server: socket.socket, client: socket.socket) -> None:
    """What the server says before the body, such as 100 Continue."""
    with suppress(OSError):
        while data := server.recv(1 << 16):
            client.sendall(data)
