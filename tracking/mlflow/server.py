"""MLflow's own server on a study's database; all its processes end with it.

Without a password it listens on loopback alone.
"""

import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tracking.databases.database import prepare_users
from tracking.errors import ServerError
from tracking.mlflow.client import ENVIRONMENT, Client
from tracking.mlflow.descriptions import EXPERIMENTS, charts_of, runs_path
from tracking.mlflow.schema_init import ensure_tables

_READY_SECONDS = 90
_STOP_SECONDS = 10
_STDERR = 2
_WATCHED = (sys.executable, "-I", str(Path(__file__).with_name("watchdog.py")))
_PASSWORD_LENGTH = 12  # at least; MLflow asks for as many characters


PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"  # MLflow's own name for it


def command(host: str = "127.0.0.1", port: int = 5000, login: bool = False) -> list[str]:
    """Return the argv of MLflow's server; the databases are in `environment`, not here.

    One worker: with more, every request on a kept connection takes 45 ms longer (uvicorn's
    issue 3149).
    """
    return [
        sys.executable, "-m", "mlflow", "server",
        "--workers", "1", "--uvicorn-opts", "--log-level warning",
        *(("--app-name", "basic-auth") if login else ()),
        "--host", host, "--port", str(port),
    ]  # fmt: skip


def environment(mlflow_url: str, artifact_root: str | Path) -> dict[str, str]:
    """Return the variables that MLflow's server runs with, besides those of this process."""
    return {
        **ENVIRONMENT,
        "MLFLOW_BACKEND_STORE_URI": mlflow_url,
        "MLFLOW_ARTIFACTS_DESTINATION": str(artifact_root),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 366 MB instead of 2 GB
    }


def serve(
    mlflow_url: str,
    artifact_root: str | Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    study_key: str | None = None,
    users_url: str | None = None,
    browser: bool = False,
) -> None:
    """Run MLflow's server until Ctrl-C, SIGTERM or SIGHUP; print the address to open to stderr.

    With a study's key that is the address of the study's own page, and that of its charts, else
    that of all studies. With `browser` it is opened in the user's browser.

    Raises:
        ServerError: the server cannot start (the port is taken, say), or ended by itself.
    """
    path = EXPERIMENTS if study_key is None else study_path(mlflow_url, study_key)
    server = serving(mlflow_url, artifact_root, host, port, users_url)
    with _ending_on_signals(), server as (url, child):
        charts = "" if path == EXPERIMENTS else f"{url}{charts_of(path)}  (as charts)\n"
        print(f"{url}{path}\n{charts}Ctrl-C ends the server.", file=sys.stderr, flush=True)
        if browser and not webbrowser.open(f"{url}{path}"):
            print("no browser was found to open it in", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            child.wait()
            raise ServerError(
                f"MLflow's server ended by itself with status {child.returncode}: its messages "
                "are above"
            )


def study_path(mlflow_url: str, study_key: str) -> str:
    """Return the path of a study's experiment in MLflow's pages, or that of all experiments."""
    experiments = Client(mlflow_url).experiments(study_key)
    active = [experiment.experiment_id for experiment in experiments if experiment.active]
    return runs_path(active[0]) if active else EXPERIMENTS


@contextmanager
def serving(
    mlflow_url: str,
    artifact_root: str | Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    users_url: str | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run MLflow's server during the block; yield its address and process once it answers.

    With a database of users it asks for a name and a password. Its user `admin` is created with
    the password in MLFLOW_AUTH_ADMIN_PASSWORD when it runs for the first time.
    """
    _refuse_open(host, users_url)
    _refuse_taken(host, port)
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    ensure_tables(mlflow_url)
    with _users(users_url) as login:
        variables = {**os.environ, **environment(mlflow_url, artifact_root), **login}
        # A session of its own: Ctrl-C reaches this process alone, which then ends the group.
        child = subprocess.Popen(
            [*_WATCHED, *command(host, port, login=users_url is not None)],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=_STDERR,
            start_new_session=True,
        )
        try:
            yield _answering(child, host, port), child
        finally:
            _end(child)


@contextmanager
def _users(users_url: str | None) -> Iterator[dict[str, str]]:
    """Yield the variables of a server with a login; the file that they name exists meanwhile."""
    if users_url is None:
        yield {}
        return
    _require_login()
    prepare_users(users_url)
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:  # for its owner alone
        url = users_url.replace("%", "%%")  # as configparser wants it
        file.write(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {url}\n")
        file.write("admin_username = admin\n")
        file.flush()
        key = os.environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY") or secrets.token_hex(32)
        yield {
            "MLFLOW_AUTH_CONFIG_PATH": file.name,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": key,
        }


def _require_login() -> None:
    if find_spec("flask_wtf") is None:
        raise ServerError("a login needs the extra [login]: pip install 'paring[login]'")
    if len(os.environ.get(PASSWORD, "")) < _PASSWORD_LENGTH:
        raise ServerError(
            f"a login needs a password for the user admin: set {PASSWORD}, of {_PASSWORD_LENGTH} "
            "characters at least"
        )


def _refuse_open(host: str, users_url: str | None) -> None:
    """Refuse to serve other machines without a password."""
    if not isinstance(host, str) or not host:  # a config may hold anything
        raise ServerError(f"host={host}: write a name or an address, such as 127.0.0.1")
    with suppress(OSError):  # the next check reports a name that is no host
        addresses = [address[0] for *_, address in socket.getaddrinfo(host, None)]
        loopback = all(ipaddress.ip_address(address).is_loopback for address in addresses)
        if users_url is None and not loopback:
            raise ServerError(
                f"host={host}: MLflow would be open to everybody who reaches this machine; add "
                "login=true, or keep host=127.0.0.1 and come through ssh -L"
            )


def _refuse_taken(host: str, port: int) -> None:
    if not 0 < port < 65536:
        raise ServerError(f"{port} is no port to listen on: choose one from 1 to 65535")
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise ServerError(
            f"MLflow's server cannot listen on {host}:{port} ({error}): end the program that "
            "does, or choose another port"
        ) from error


def _answering(child: subprocess.Popen[bytes], host: str, port: int) -> str:
    """Wait until the server answers; return its address."""
    loopback = "127.0.0.1" if host in ("", "0.0.0.0") else host
    url = f"http://[{loopback}]:{port}" if ":" in loopback else f"http://{loopback}:{port}"
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ServerError(
                f"MLflow's server ended with status {child.returncode} before it answered: its "
                "messages are above"
            )
        if _answers(url):
            return url
        time.sleep(0.2)
    raise ServerError(
        f"MLflow's server at {url} did not answer within {_READY_SECONDS} s: is the machine "
        "overloaded, or its database slow?"
    )


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the server and the processes it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
            break
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """End the block on SIGTERM, and when the terminal closes, as on Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # nohup ignores it
    handlers = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
