import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.search.commands import PATIENCE_S, free_port
from tracking import (
    RESOURCES,
    DeviceRecord,
    Limits,
    Mirror,
    ServerError,
    State,
    StudyRecord,
    register,
    serving,
)
from tracking.mlflow.client import Client
from tracking.mlflow.descriptions import EXPERIMENTS, charts_of, front_path, run_path
from tracking.mlflow.server import PASSWORD, command, environment, study_path
from tracking.pages.plot_layout import DENSE, FRONT

MakeStudy = Callable[..., StudyRecord]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_the_database_is_not_in_the_process_list() -> None:
    url = "postgresql+psycopg://secret-host/db"
    assert "secret-host" not in " ".join(command())
    assert environment(url, "/tmp/a")["MLFLOW_BACKEND_STORE_URI"] == url
    assert environment(url, "/tmp/a")["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert command()[-4:] == ["--host", "127.0.0.1", "--port", "5000"]


def test_a_taken_port_is_reported(taken: int, tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=rf"127\.0\.0\.1:{taken} .*choose another port"),
        serving(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, port=taken),
    ):
        pytest.fail("the port is taken")


@pytest.mark.parametrize("port", [-1, 0, 70000])
def test_what_is_no_port_is_reported(tmp_path: Path, port: int) -> None:
    with (
        pytest.raises(ServerError, match=f"{port} is no port"),
        serving(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, port=port),
    ):
        pytest.fail("there is no such port")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_nobody_beyond_the_machine_looks_without_a_password(tmp_path: Path, host: str) -> None:
    with (
        pytest.raises(ServerError, match="login=true"),
        serving(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, host, free_port()),
    ):
        pytest.fail("it is open to everybody")


@pytest.mark.parametrize("host", [0, None, ""])
def test_what_is_no_host_is_reported(tmp_path: Path, host: Any) -> None:
    with (
        pytest.raises(ServerError, match="write a name or an address"),
        serving(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, host, free_port()),
    ):
        pytest.fail("that is no host")


@pytest.mark.slow
@pytest.mark.parametrize("password", [None, "", "eleven char"])
def test_a_login_needs_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str | None
) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    if password is not None:
        monkeypatch.setenv(PASSWORD, password)
    urls = (f"sqlite:///{tmp_path}/{name}.db" for name in ("mlflow", "users"))
    with (
        pytest.raises(ServerError, match=f"set {PASSWORD}, of 12"),
        serving(next(urls), tmp_path, port=free_port(), users_url=next(urls)),
    ):
        pytest.fail("there is no password")


def test_a_study_never_mirrored_has_no_page_but_that_of_all(sqlite_store: Any) -> None:
    path = study_path(sqlite_store.mlflow, "unknown")
    assert path == EXPERIMENTS == "/#/experiments?workflowType=machine_learning"


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_sees_the_study_its_front_and_what_was_picked(
    sqlite_store: Any,
    make_study: MakeStudy,
    blobs: dict[str, bytes],
    browser: Page,
    tmp_path: Path,
) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE)
    Mirror(sqlite_store.mlflow, sqlite_store.artifacts).sync(study, blobs)
    client = Client(sqlite_store.mlflow)
    where = client.experiments(study.key)[0].experiment_id
    (run,) = client.runs(where, "tags.`paring.kind` = 'study'")
    (tmp_path / "picked").mkdir()
    model = tmp_path / "picked" / "model.json"
    model.write_text("{}")
    register(sqlite_store.mlflow, study, study.trials[0], [model], "tiny", "net")
    with serving(sqlite_store.mlflow, sqlite_store.artifacts, port=free_port()) as (url, _):
        browser.goto(url + study_path(sqlite_store.mlflow, study.key))
        for words in (study.name, "trial-000", "trial-001"):
            browser.get_by_text(words).first.wait_for()
        assert browser.locator(f"a[href$='{front_path(where, run.run_id)}']").count()
        browser.goto(url + front_path(where, run.run_id))
        points = browser.frame_locator("iframe").locator(".scatterlayer .point")
        points.first.wait_for(state="attached")
        assert points.count() >= 2 * 4
        picture = tmp_path / "front.png"
        browser.screenshot(path=picture)
        browser.goto(f"{url}/#/models/net")
        for words in ("net", "Version 1", "@ tiny"):
            browser.get_by_text(words).first.wait_for()
    for color in (FRONT, DENSE):  # the plot itself is there, not just its frame
        assert pixels(picture, color) > 50


def shown_headers(page: Page) -> list[str]:
    """The headers of a table of MLflow's from left to right."""
    places = page.get_by_role("columnheader").evaluate_all(
        "all => all.map(one => [one.getBoundingClientRect().x, one.innerText.trim()])"
    )
    return list(dict.fromkeys(text for _, text in sorted(places)))


@pytest.mark.slow
@pytest.mark.browser
def test_the_link_to_a_study_opens_its_columns_and_its_charts(
    sqlite_store: Any, make_study: MakeStudy, blobs: dict[str, bytes], browser: Page
) -> None:
    """The shared view is stored as the pinned version of MLflow reads it: with another version,
    this is what fails, and `tracking.mlflow.views` is what must follow.
    """
    study = make_study(State.COMPLETE, State.COMPLETE, State.COMPLETE, State.FAILED)
    first, second, third, failed = study.trials
    worse = replace(first, planes=())  # the best score, but not on a front
    tested = replace(second, test_score=0.97)
    study = replace(study, trials=(worse, tested, third, failed))
    Mirror(sqlite_store.mlflow, sqlite_store.artifacts).sync(study, blobs)
    with serving(sqlite_store.mlflow, sqlite_store.artifacts, port=free_port()) as (url, _):
        path = study_path(sqlite_store.mlflow, study.key)
        browser.set_viewport_size({"width": 2600, "height": 1200})
        browser.goto(url + path)
        browser.get_by_text("trial-000: 0.9800").first.wait_for()
        assert browser.get_by_text("viewing a shared view").count(), "MLflow refused the view"
        columns = ["score", "test_score", "flash_bytes", "sram_bytes", "latency_ms"]
        end = time.monotonic() + 30  # columns move to their places
        while (headers := [one for one in shown_headers(browser) if one in columns]) != columns:
            assert time.monotonic() < end, headers
            time.sleep(0.2)
        headers = shown_headers(browser)
        assert {"paring.planes", "paring.budget", "Models"} <= set(headers)
        names = browser.locator("a", has_text=re.compile(r"^trial-00\d")).all_inner_texts()
        runs = [name for name in names if name.startswith("trial-003") or ":" in name]
        assert [name[:9] for name in runs] == ["trial-001", "trial-002", "trial-000", "trial-003"]
        browser.goto("about:blank")
        browser.goto(url + charts_of(path))
        for resource in RESOURCES:
            browser.get_by_text(f"{resource} vs. score").first.wait_for()
        points = browser.locator(".scatterlayer .point")
        points.first.wait_for(state="attached")
        assert points.count() >= 3 * 3


@pytest.mark.slow
@pytest.mark.browser
def test_mlflow_shows_names_from_outside_as_they_are(
    sqlite_store: Any, make_study: MakeStudy, blobs: dict[str, bytes], browser: Page
) -> None:
    name = "a\n# head [x](javascript:alert(1)) <img src=nowhere onerror=alert(2)> *em* :+1: @me"
    device = DeviceRecord(name=name, limits=Limits(flash_bytes=9, sram_bytes=9))
    study = make_study(State.FAILED, device=device, metric=name, precision=name)
    study = replace(study, trials=(replace(study.trials[0], reason=name),))
    ids = Mirror(sqlite_store.mlflow, sqlite_store.artifacts).sync(study, blobs)
    path = study_path(sqlite_store.mlflow, study.key)
    where = path.split("/")[3]
    with serving(sqlite_store.mlflow, sqlite_store.artifacts, port=free_port()) as (url, _):
        for page in (path, run_path(where, ids[0])):
            browser.goto("about:blank")
            browser.goto(url + page)
            browser.get_by_text(" ".join(name.split())).first.wait_for()
            for made in (
                "a[href^='javascript']",
                "img[src*='nowhere']",
                "a[href*='github.com/me']",
            ):
                assert browser.locator(made).count() == 0
            assert browser.locator("h1,h2,h3", has_text="head [x]").count() == 0
            assert browser.locator("em", has_text="em").count() == 0


@pytest.mark.slow
@pytest.mark.browser
def test_the_list_of_experiments_shows_no_marks(
    sqlite_store: Any, make_study: MakeStudy, blobs: dict[str, bytes], browser: Page
) -> None:
    study = make_study(State.COMPLETE)
    Mirror(sqlite_store.mlflow, sqlite_store.artifacts).sync(study, blobs)
    with serving(sqlite_store.mlflow, sqlite_store.artifacts, port=free_port()) as (url, _):
        browser.goto(url + EXPERIMENTS)
        cell = browser.get_by_text(f"Sweep {study.name}: one network").first
        cell.wait_for()
        shown = cell.evaluate(SEEN)
    assert shown.startswith("Sweep study-")
    assert not set("*`[]()") & set(shown)


# The characters of an element that lie within what can be seen of it.
SEEN = """element => {
const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), range = new Range();
const edge = element.getBoundingClientRect().right;
let seen = "";
for (let node = walker.nextNode(); node; node = walker.nextNode())
  for (let at = 0; at < node.length; at++) {
    range.setStart(node, at); range.setEnd(node, at + 1);
    if (range.getBoundingClientRect().right > edge) return seen;
    seen += node.data[at];
  }
return seen; }"""


@pytest.mark.slow
def test_mirroring_and_registering_through_the_server(
    own_store: Any, make_study: MakeStudy, blobs: dict[str, bytes], tmp_path: Path
) -> None:
    study = make_study(State.COMPLETE, State.RUNNING)
    (tmp_path / "picked").mkdir()
    model = tmp_path / "picked" / "model.json"
    model.write_text("{}")
    with serving(own_store.mlflow, own_store.artifacts, port=free_port()) as (url, _):
        ids = Mirror(url).sync(study, blobs)
        assert Mirror(url).sync(study, blobs) == ids
        assert register(url, study, study.trials[0], [model], "tiny", "net") == "1"
        Client(url).api.delete_run(ids[1])
        assert Mirror(url).sync(study, blobs)[1] != ids[1]
    files = [path.name for path in Path(own_store.artifacts).rglob("*")]
    assert {"front.html", "config.yaml", "model.json"} <= set(files)


def pixels(picture: Path, color: str) -> int:
    """Count the pixels of one color, given as #rrggbb."""
    wanted = tuple(bytes.fromhex(color[1:]))
    with Image.open(picture) as image:
        counts = image.convert("RGB").getcolors(1 << 24) or []
    return sum(count for count, found in counts if found == wanted)


# A shell starts what runs in the background with Ctrl-C ignored; here it must be heard.
_SERVE = """
import signal, sys
from tracking import serve
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
serve(*sys.argv[1:3], port=int(sys.argv[3]), browser="open" in sys.argv)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_server_ends_with_its_parent(
    sqlite_store: Any, tmp_path: Path, sign: signal.Signals
) -> None:
    port = free_port()
    arguments = [
        *(sys.executable, "-c", _SERVE),
        *(sqlite_store.mlflow, str(sqlite_store.artifacts), str(port), "open"),
    ]
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": str(browser)}
    with (tmp_path / "log").open("w+") as log:
        parent = subprocess.Popen(arguments, stderr=log, env=environment)
        while "Ctrl-C" not in (tmp_path / "log").read_text():
            assert parent.poll() is None
            time.sleep(0.1)
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(sign)
        assert parent.wait(60) == 0
    assert children
    assert not [child for child in children if child.is_running()]
    assert f"http://127.0.0.1:{port}{EXPERIMENTS}\n" in (tmp_path / "log").read_text()
    assert (tmp_path / "opened").read_text() == f"http://127.0.0.1:{port}{EXPERIMENTS}\n"


@pytest.mark.slow
def test_nothing_is_left_of_a_server_whose_parent_was_killed(
    sqlite_store: Any, tmp_path: Path
) -> None:
    arguments = [
        *(sys.executable, "-c", _SERVE),
        *(sqlite_store.mlflow, str(sqlite_store.artifacts), str(free_port())),
    ]
    with (tmp_path / "log").open("w+") as log:
        parent = subprocess.Popen(arguments, stderr=log, env=os.environ)
        while "Ctrl-C" not in (tmp_path / "log").read_text():
            assert parent.poll() is None
            time.sleep(0.1)
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        parent.wait()
    assert len(children) > 1
    _, left = psutil.wait_procs(children, PATIENCE_S)
    for child in left:
        child.kill()
    assert left == []
