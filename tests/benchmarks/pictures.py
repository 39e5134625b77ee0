"""Every picture of the README and of docs/ (make pictures).

The charts show the results that are stored in tests/benchmarks/results. The pages are those of
the demo, photographed in Chromium: its sweep is run in a temporary folder, or taken from the
folder that `--folder` names.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import FloatRect, Page, sync_playwright

from search.config.schema import StorageConfig
from search.results.report import study_record
from search.storage.workspace import open_workspace
from search.study.study import require_study
from tests.benchmarks.estimates import RESULTS, draw
from tests.search.commands import free_port
from tracking.mlflow.client import Client
from tracking.mlflow.descriptions import WORKFLOW, charts_of, front_path, runs_path
from tracking.mlflow.server import serving

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
PARING = str(Path(sys.executable).with_name("paring"))
STUDY = "demo"
CHARTS = {  # a picture, and the results in it: problem, setting, digest of the engine
    "resnet8.png": ("resnet8", "short", "a9912968cbb1dcbe"),
    "mobilenet_v1.png": ("mobilenet_v1", "fifth", "d72ef0480a9fe0dd"),
    "ds_cnn.png": ("ds_cnn", "medium", "658d51384d059bc8"),
}
ESTIMATES = "estimates.png"
FRONT, CHOOSE, REPORT = "front.png", "choose.png", "report.png"
WHY, EVALUATION, DASHBOARD = "why.png", "evaluation.png", "dashboard.png"
RUNS, FRONTS, MODEL, VERSION = "runs.png", "fronts.png", "model.png", "version.png"
MADE = {*CHARTS, ESTIMATES, FRONT, CHOOSE, REPORT, WHY, EVALUATION, DASHBOARD}
MADE |= {RUNS, FRONTS, MODEL, VERSION}
WIDTH, ASSISTANT = 1800, 466  # pixels: MLflow opens its assistant in a browser that is new to it
CHOICE = ("device=stm32f103", "budget.flash=8KiB")  # of which the page and the report are
ONE, TWO = "#device=stm32f103&flash=8KiB", "#device=rp2040&latency=5ms"  # in the page's address
SMALL = "budget.flash=4KiB"  # whose network the page on a trial is about


def main() -> None:
    """Draw the charts, then photograph the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where `paring sweep study=demo` was run")
    parser.add_argument("--charts", action="store_true", help="only those of stored results")
    options = parser.parse_args()
    charts()
    if not options.charts:
        with demo(options.folder) as folder:
            pages(folder)


def charts() -> None:
    """How much better paring is on each problem, and estimates against measurements."""
    for name, (problem, setting, engine) in CHARTS.items():
        subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.quality", "--no-run", "--table", "test",
             "--problem", problem, "--setting", setting, "--engine", engine,
             "--plot", str(PICTURES / name)],
            check=True, stdout=subprocess.DEVNULL, cwd=PICTURES.parents[1],
        )  # fmt: skip
    draw(json.loads((RESULTS / "estimates.json").read_text()), PICTURES / ESTIMATES)


@contextmanager
def demo(folder: Path | None) -> Iterator[Path]:
    """A folder in which the demo's study is complete."""
    if folder is not None:
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="paring-") as new:
        _paring(Path(new), "sweep", f"study={STUDY}", "experiment=demo", "workers=2")
        yield Path(new)


def _paring(folder: Path, *words: str) -> None:
    subprocess.run([PARING, *words], check=True, cwd=folder)


def pages(folder: Path) -> None:
    """The front, the pages on one of its trials, and what MLflow shows of the study."""
    _paring(folder, "front", f"study={STUDY}", "output=html", "out=pictures/front.html")
    _paring(folder, "pick", f"study={STUDY}", SMALL, "register=false", "out=pictures/small")
    _paring(folder, "pick", f"study={STUDY}", "device=stm32f103", "format=c", "out=pictures/c")
    number = json.loads((folder / "pictures" / "small" / "model.json").read_text())["trial"]
    _paring(folder, "export", f"study={STUDY}", f"trial={number}", "out=pictures/small")
    _paring(folder, "report", f"study={STUDY}", *CHOICE, "out=pictures/report.html")
    with browser() as page:
        _front(page, folder / "pictures" / "front.html")
        _report(page, folder / "pictures" / "report.html")
        _whole(page, folder / "pictures" / "small" / "why.html", WHY)
        _whole(page, folder / "pictures" / "small" / "evaluation.html", EVALUATION)
        _dashboard(page, folder)


@contextmanager
def browser() -> Iterator[Page]:
    """A page of the system's Chromium.

    Raises:
        SystemExit: it is not installed.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("chromium is not installed: run make system-deps")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium.new_page()
        chromium.close()


def _front(page: Page, file: Path) -> None:
    """The page on the front: a choice with the figures, then two chips side by side."""
    page.set_viewport_size({"width": 1275, "height": 1100})
    _open(page, file.as_uri() + ONE)
    _down_to(page, "#latency_ms", FRONT)
    page.get_by_role("button", name="Keep the chosen one").click()
    kept = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('other')")
    _open(page, f"{file.as_uri()}{TWO}&other={kept}")
    page.locator("#answers-card").evaluate("card => card.remove()")
    page.locator("#comparison").evaluate("table => { table.style.maxHeight = 'none'; }")
    _down_to(page, "#compare", CHOOSE)


def _open(page: Page, address: str) -> None:
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("document.body.dataset.drawing === 'false'")


def _down_to(page: Page, element: str, name: str) -> None:
    """A picture of a page from its beginning to the end of an element's card."""
    box = page.locator(f".card:has({element}), .card{element}").first.bounding_box()
    assert box is not None  # it is on the page
    size = page.viewport_size
    assert size is not None  # it was set
    clip = FloatRect(x=0, y=0, width=size["width"], height=box["y"] + box["height"] + 12)
    page.screenshot(path=PICTURES / name, full_page=True, clip=clip)


def _report(page: Page, file: Path) -> None:
    """The first half of a report."""
    page.set_viewport_size({"width": 1040, "height": 1180})
    page.goto(file.as_uri())
    page.screenshot(path=PICTURES / REPORT)


def _whole(page: Page, file: Path, name: str) -> None:
    """All of a page on a trial."""
    page.set_viewport_size({"width": 1200, "height": 900})
    page.goto(file.as_uri())
    page.screenshot(path=PICTURES / name, full_page=True)


def _dashboard(page: Page, folder: Path) -> None:
    """The study in MLflow: its runs, their fronts, the page of its front, a model, a version."""
    workspace = open_workspace(StorageConfig(folder=str(folder / ".paring")), create=False)
    key = study_record(require_study(workspace, STUDY)).key
    client = Client(workspace.databases.mlflow)
    where = client.experiments(key)[0].experiment_id
    (run,) = client.runs(where, "tags.`paring.kind` = 'study'")
    version = client.api.get_model_version_by_alias(STUDY, "stm32f103")
    model = client.api.get_run(version.run_id).data.tags["paring.model"]
    runs, artifacts = runs_path(where), workspace.folder / "artifacts"
    with serving(workspace.databases.mlflow, artifacts, port=free_port()) as (address, _):
        for name, path, shown, height in (
            (RUNS, runs, "trial-023", 860),
            (FRONTS, charts_of(runs), "latency_ms vs. score", 780),
            (MODEL, f"/#/experiments/{where}/models/{model}?{WORKFLOW}", "About this", 820),
            (VERSION, f"/#/models/{STUDY}/versions/{version.version}?{WORKFLOW}", "Version 1", 620),
        ):
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.goto("about:blank")
            page.goto(address + path)
            page.get_by_text(shown).first.wait_for()
            page.wait_for_timeout(2000)  # columns and charts move to their places
            _without_assistant(page, name)
        page.set_viewport_size({"width": WIDTH, "height": 900})
        page.goto(address + front_path(where, run.run_id))
        points = page.frame_locator("iframe").locator(".scatterlayer .point")
        points.first.wait_for(state="attached")
        _without_assistant(page, DASHBOARD)


def _without_assistant(page: Page, name: str) -> None:
    size = page.viewport_size
    assert size is not None  # it was set
    clip = FloatRect(x=0, y=0, width=size["width"] - ASSISTANT, height=size["height"])
    page.screenshot(path=PICTURES / name, clip=clip)


if __name__ == "__main__":
    main()
