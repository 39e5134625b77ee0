"""`paring report`, and `study.report` from Python: about the model that pick gives."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import pruning.data
import search
from pruning.errors import DataError

pytestmark = pytest.mark.slow
Paring = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def where(folder: Path) -> list[str]:
    return [f"storage.folder={folder / '.paring'}"]


@pytest.fixture(scope="module")
def study(where: list[str], tiny: list[str]) -> search.SweepStudy:
    exact = "accelerator.threads=1"
    return search.sweep("told", [*tiny, *where, exact], workers=1, progress=False)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def said(file: Path) -> str:
    page = file.read_text()
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]).split())


@pytest.mark.parametrize(
    "arguments",
    [(), ("device=rp2040",), ("device=stm32f103", "margin=10%"), ("budget.latency=1s",)],
    ids=" ".join,
)
def test_it_is_about_what_pick_gives(
    study: search.SweepStudy, where: list[str], here: Path, paring: Paring,
    arguments: tuple[str, ...],
) -> None:  # fmt: skip
    code, out, err = paring("report", "study=told", *arguments, *where)
    assert (code, err) == (0, "")
    assert out == f"written: {here / 'report.html'}\n"
    text = said(here / "report.html")
    chosen = re.search(r"Trial (\d+) has the best accuracy within the limits", text)
    command = re.search(r"paring pick (study=told[^ ]*(?: [a-z.]+=[^ ]+)*)", text)
    assert chosen is not None
    assert command is not None
    code, out, err = paring("pick", *command[1].split(), "register=false", *where)
    assert code == 0, err
    assert out.startswith(f"trial {chosen[1]}: ")
    assert "64 train" in text
    assert study.study.facts.data_digest in text


def test_python_writes_the_same(
    study: search.SweepStudy, where: list[str], here: Path, paring: Paring
) -> None:
    file = study.report(here / "own.html", device="rp2040", flash="64 KiB")
    assert file == here / "own.html"
    paring("report", "study=told", "device=rp2040", "budget.flash=64KiB", *where)
    assert file.read_text() == (here / "report.html").read_text()


def test_what_cannot_be_is_said(
    study: search.SweepStudy, where: list[str], here: Path, paring: Paring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def refused(*arguments: str) -> str:
        code, _, err = paring("report", "study=told", *arguments, *where)
        assert code == 2
        return err

    assert "the nearest is trial" in refused("budget.flash=10")
    assert "format=docx: write one of html, pdf" in refused("format=docx")
    assert "out=a.html: format=pdf needs a name that ends in .pdf" in refused(
        "format=pdf", "out=a.html"
    )
    assert "margin=200%" in refused("margin=200%")
    (here / "other.html").write_text("mine")
    assert "was not written by paring" in refused("out=other.html")
    assert (here / "other.html").read_text() == "mine"
    monkeypatch.setenv("PATH", "/nowhere")
    assert "is installed, which print the page" in refused("format=pdf")


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_pdf_of_somebody_else_stays(
    study: search.SweepStudy, where: list[str], here: Path, paring: Paring
) -> None:
    for _ in range(2):
        code, out, _ = paring("report", "study=told", "format=pdf", *where)
        assert (code, out) == (0, f"written: {here / 'report.pdf'}\n")
    assert (here / "report.pdf").read_bytes().startswith(b"%PDF-")
    (here / "report.pdf").write_bytes(b"%PDF-1.4 mine")
    code, _, err = paring("report", "study=told", "format=pdf", *where)
    assert code == 2
    assert "not written by paring, or changed since" in err
    assert (here / "report.pdf").read_bytes() == b"%PDF-1.4 mine"


def test_data_that_are_gone_are_not_counted(
    study: search.SweepStudy, where: list[str], here: Path, paring: Paring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def gone(**settings: object) -> None:
        raise DataError("data.path: no such file")

    monkeypatch.setattr(pruning.data, "synthetic", gone)
    code, _, err = paring("report", "study=told", *where)
    assert code == 0
    assert "the data are not those of the study" in err
    assert (
        "train" not in said(here / "report.html").partition("The front")[0].partition("samples")[2]
    )
