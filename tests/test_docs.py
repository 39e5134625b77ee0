"""README and docs are true: their commands compose, the quick ones run and print the figures, links
lead somewhere, pictures are made by a command.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from search.cli import main
from search.cli.reference import GROUPS
from search.cli.reference import PAGES as GENERATED
from tests.benchmarks import curves, estimates, ladder, pictures
from tests.benchmarks.quality import __main__ as quality
from tests.benchmarks.quality.methods import METHODS
from tests.toolchain import COMPILER

ROOT = Path(__file__).parent.parent
DEVICES = ROOT / "pruning/catalogue/device"
FILES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(FILES)}
ALL = "\n".join(PAGES.values())


def blocks(language: str, text: str = ALL) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def lines(text: str = ALL) -> list[str]:
    """Every command of the shell blocks, on one line."""
    return "\n".join(blocks("sh", text)).replace("\\\n", " ").splitlines()


def commands(text: str = ALL) -> list[str]:
    """Every `paring VERB ...` of the shell blocks, on one line and without its comment."""
    return [
        shlex.join(shlex.split(line, comments=True)[1:])
        for line in lines(text)
        if re.match(r"(\.venv/bin/)?paring ", line)
    ]


def mentions() -> list[str]:
    """Every `paring VERB ...` that stands in a sentence, but for those that stand for any verb."""
    prose = re.sub(r"```.*?```", "", ALL, flags=re.DOTALL)
    spans = (" ".join(span.split()) for span in re.findall(r"`paring ([^`]+)`", prose))
    return [span for span in spans if span.split()[0] in main.VERBS]


def benchmarks(target: str, text: str = ALL) -> list[list[str]]:
    """The arguments of every `make TARGET ARGS="..."`."""
    made = [shlex.split(line, comments=True) for line in lines(text)]
    given = [words[2:] for words in made if words[:2] == ["make", target]]
    return [shlex.split(" ".join(words).removeprefix("ARGS=")) for words in given]


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "search.cli.main", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )


def test_the_pages_show_commands():
    assert len(commands()) >= 8
    assert {command.split()[0] for command in commands()} >= {
        "sweep",
        "front",
        "serve",
        "worker",
    }


@pytest.mark.parametrize("command", sorted({*commands(), *mentions()}))
def test_a_command_of_the_pages_composes(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "device").mkdir(parents=True)  # with a device of the reader's own
    shutil.copy(
        ROOT / "pruning/catalogue/device/stm32f446.yaml", tmp_path / "conf/device/mine.yaml"
    )
    verb, *overrides = shlex.split(command)
    if "-m" in overrides:  # Hydra shows no config of a sweep: look at its first job
        overrides = [re.sub(r"range\(0,\d+\)", "0", word) for word in overrides if word != "-m"]
    assert main.run(verb, [*overrides, "--cfg", "job"]) == 0
    assert "debug: false" in capsys.readouterr().out


def test_the_makefile_has_every_target_that_is_named():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shell = "\n".join(lines())
    named = set(re.findall(r"^make ([a-z-]+)", shell, flags=re.MULTILINE))
    named |= set(re.findall(r"`make ([a-z-]+)", ALL))
    assert {"demo", "test", "lint"} <= named <= targets


def test_every_config_group_is_on_the_page_of_groups():
    places = (*(ROOT / "conf").iterdir(), *(ROOT / "pruning/catalogue").iterdir())
    folders = {path.name for path in places if path.is_dir()}
    assert set(GROUPS) == folders - {"hydra", "__pycache__"}


@pytest.mark.parametrize("page", GENERATED)
def test_a_generated_page_is_made_of_today_s_files(page):
    assert PAGES[f"docs/{page}"] == GENERATED[page](), "run: make docs"


def test_every_verb_shows_a_command():
    shown = {command.split()[0] for command in commands(PAGES["docs/cli.md"])}
    assert shown == set(main.VERBS)


# --- benchmarks: their commands are accepted, and the figures of the pages are printed by them

BENCHMARKS = {
    "bench-pruning": quality,
    "bench-ladder": ladder,
    "bench-estimates": estimates,
    "bench-stopping": curves,
}


def printed(module, words: list[str], monkeypatch, capsys) -> str:
    monkeypatch.setattr("sys.argv", [module.__name__, *words])
    module.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("target", BENCHMARKS)
def test_the_arguments_of_a_benchmark_are_accepted(target, monkeypatch, capsys):
    for words in benchmarks(target):
        monkeypatch.setattr("sys.argv", [target, *words, "--help"])
        with pytest.raises(SystemExit) as ended:
            BENCHMARKS[target].main()
        assert ended.value.code == 0, capsys.readouterr().err


def test_a_part_of_the_engine_s_benchmarks_exists():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests/benchmarks").glob("test_*.py"))
    named = [name for _, words in benchmarks("bench") for name in re.findall(r"test_\w+", words)]
    named += re.findall(r"make bench ARGS=\"-k (test_\w+)", ALL)
    assert len(named) >= 4
    for name in named:
        assert f"def {name}" in tests, name


def test_a_part_of_the_service_s_benchmark_exists():
    service = (ROOT / "tests/benchmarks/service.py").read_text()
    for words in benchmarks("bench-service"):
        for part in words:
            assert f'"{part}":' in service


def rows(text: str) -> Iterator[list[str]]:
    """The cells of the tables of a Markdown text, without bold face."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").replace("**", "").split("|")]


SECTIONS = [
    pytest.param(section, id=f"{page}: {section.splitlines()[0]}")
    for page, text in PAGES.items()
    for section in text.split("\n## ")
    if "--no-run" in section and "bench-pruning" in section and "--engine" in section
    if benchmarks("bench-pruning", section)
]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_scores_of_a_table_are_printed(section, monkeypatch, capsys):
    """Every number of a row that names a method, or a budget, is one that its command prints."""
    found: dict[str, list[str]] = {}
    for words in benchmarks("bench-pruning", section):
        for name, *cells in rows(printed(quality, words, monkeypatch, capsys)):
            found.setdefault(name, []).extend(cells)
    checked = Counter()
    for name, *cells in rows(section):
        for cell in cells if name in found else ():
            if re.match(r"[+-]?\d+\.\d\d|\d+,\d", cell):
                assert any(value.startswith(cell) for value in found[name]), (name, cell)
                checked[name] += 1
    assert checked.total() >= 6
    assert set(checked) & set(METHODS)


def test_the_table_of_the_ladder_is_printed(monkeypatch, capsys):
    sections = PAGES["docs/benchmarks.md"].split("\n## ")
    (section,) = [part for part in sections if part.startswith("A ladder")]
    stored = list(rows(printed(ladder, ["--no-run"], monkeypatch, capsys)))
    assert [row for row in rows(section) if row in stored] == stored


def test_the_table_of_estimates_is_the_stored_one():
    stored = json.loads((estimates.RESULTS / "estimates.json").read_text())
    shown = list(rows(PAGES["docs/deployment.md"]))
    assert all(row in shown for row in rows(estimates.table(stored)))


def test_what_early_stopping_saves_is_printed(monkeypatch, capsys):
    told = printed(curves, [], monkeypatch, capsys)
    epochs, volume = re.search(r"\((\d+)%\) and ([\d.]+)%", told).groups()
    assert f"{epochs} % of the epochs for {volume} % of" in " ".join(
        PAGES["docs/benchmarks.md"].split()
    )


def test_the_table_of_networks_is_the_stored_one():
    stored = json.loads((estimates.RESULTS / "networks.json").read_text())
    shown = {name: cells for name, *cells in rows(PAGES["docs/benchmarks.md"])}
    for library in ("paring", "torch_pruning"):
        verdicts = Counter(both[library]["verdict"] for both in stored.values())
        cells = [verdicts[kind] for kind in ("equal", "runs, not equal", "fails", "refused")]
        assert shown[library] == list(map(str, cells))
    assert f"{len(stored)} small networks" in PAGES["docs/benchmarks.md"]


# --- what the pages show, run


QUICK = [
    "accelerator.threads=1",  # so that a rerun is exact
    *(f"method.phases.{name}_epochs=1" for name in ("dense", "prune", "finetune")),
]
AT_ONCE = (  # verbs whose examples take seconds once there is a study
    "inspect", "status", "pause", "resume", "front", "compare", "pick", "report", "export", "rerun",
    "reconcile", "collect", "doctor", "cancel",
)  # fmt: skip


@pytest.mark.slow
def test_the_examples_of_the_page_of_commands_run(paring, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for study, trials in (("demo", 4), ("A", 1), ("B", 1)):
        sweep = [f"study={study}", f"trials={trials}", "experiment=demo", "shares=[0.1]", *QUICK]
        code, _, err = paring("sweep", *sweep)
        assert code == 0, err
    for command in commands(PAGES["docs/cli.md"]):
        verb, *words = shlex.split(command)
        if verb in AT_ONCE:
            code, _, err = paring(verb, *words)
            # doctor may find little free space on the disk of a test; no browser, no PDF
            unprinted = "format=pdf" in words and shutil.which("chromium") is None
            good = (0, 2) if verb == "doctor" or unprinted else (0,)
            assert code in good, f"{command}: {err}"


def run_code(code: str, cwd: Path) -> str:
    """What a script prints, run as a notebook does: its process has no file to import again."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_engine_runs_without_the_service(tmp_path):
    (code,) = [block for block in blocks("python") if "TrainState.begin" in block]
    assert len(run_code(code, tmp_path).splitlines()) == 8


@pytest.mark.slow
def test_fifteen_lines_of_python(tmp_path):
    """A network under one budget, then a sweep, as the README shows it."""
    (code,) = blocks("python", PAGES["README.md"])
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 15
    *lines, verifying = lines
    assert "study.verify(" in verifying
    compiled = shutil.which(COMPILER) is not None
    said = run_code("\n".join([*lines, verifying] if compiled else lines), tmp_path)
    assert "It fits stm32f446 as it is, unpruned." in said
    assert "epoch 8/8 finetune" in said
    assert "price of the limit" in said
    assert ("mismatches" in said) is compiled
    assert (tmp_path / "firmware" / "model.c").exists()
    assert (tmp_path / "picked" / "model.c").exists()


@pytest.mark.slow
def test_the_page_on_python(tmp_path):
    """Its snippets, one after the other; the last one is a script of its own."""
    *snippets, _ = blocks("python", PAGES["docs/python-api.md"])
    assert len(snippets) == 4
    said = run_code("\n".join(snippets), tmp_path)
    assert "epoch 8/8 finetune" in said
    assert (tmp_path / "firmware" / "model.c").exists()
    assert (tmp_path / "picked" / "why.html").exists()


def test_the_page_on_python_has_every_name_and_every_verb():
    import pruning
    import search
    from search.cli.main import VERBS

    page = PAGES["docs/python-api.md"]
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `paring "))
    assert [verb for verb in VERBS if not re.search(rf"`(paring )?{verb}`", table)] == []
    shown = set(re.findall(r"search\.(\w+)\(", page))
    assert shown == {name for name in search.__all__ if name[0].islower()}
    assert set(re.findall(r"pruning\.(\w+)\(", page)) <= set(pruning.__all__)
    methods = set(re.findall(r"study\.(\w+)\(", page))
    assert methods == {name for name in vars(search.SweepStudy) if name[0] != "_"} - FIELDS


FIELDS = {"name", "study"}  # of a study, and no methods
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    """Its cells, one after the other in one process that is no script, as in a kernel."""
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 5
    assert all(not c.get("outputs") for c in notebook["cells"])  # numbers would grow old
    said = run_code("\n".join(cells), tmp_path)
    assert "epoch 8/8 finetune" in said
    assert (tmp_path / "picked" / "model.c").exists()


@pytest.mark.slow
def test_own_model_and_data(tmp_path):
    (code,) = [block for block in blocks("python") if "class Net" in block]
    (tmp_path / "mynet.py").write_text(code)
    (command,) = [c for c in commands() if "mynet.data" in c]
    short = ["method.phases.dense_epochs=1", "method.phases.prune_epochs=1"]
    done = run(*shlex.split(command), *short, "method.phases.finetune_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[2/2]" in done.stderr


NET = """
import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3),
        )
"""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (make system-deps)",
)
def test_from_your_own_weights_to_firmware(tmp_path):
    """The commands of the README's section, one after the other."""
    (tmp_path / "mynet.py").write_text(NET)
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 240), ("test", 60)):
        targets = random.integers(0, 3, count)
        inputs = random.normal(targets[:, None, None, None], 1.0, (count, 1, 10, 10))
        arrays |= {f"x_{split}": inputs.astype(np.float32), f"y_{split}": targets}
    np.savez(tmp_path / "data.npz", **arrays)
    script = (
        "import torch, safetensors.torch, mynet; "
        "torch.save(mynet.Net().state_dict(), 'net.pth'); "
        "safetensors.torch.save_file(torch.load('net.pth', weights_only=True), 'net.safetensors')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    phases = [f"method.phases.{name}_epochs=1" for name in ("dense", "prune", "finetune")]
    short = {
        "inspect": ["data.layout=NCHW"],
        "sweep": ["data.layout=NCHW", "shares=[0.5]", *phases],
    }
    section = PAGES["README.md"].split("## From your own")[1].split("\n## ")[0]
    for command in commands(section):
        verb, *words = shlex.split(command)
        done = run(verb, *words, *short.get(verb, ()), cwd=tmp_path)
        assert done.returncode in ((0, 1) if verb == "verify" else (0,)), done.stderr
    assert (tmp_path / "firmware" / "model.c").exists()


def anchors(text: str) -> set[str]:
    """Where a link may lead within a page: its headings, as GitHub names them."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", PAGES[page]):
        if target.startswith("http"):
            continue
        place = (ROOT / page).parent.joinpath(target) if target else ROOT / page
        assert place.exists(), target
        if anchor:
            assert anchor in anchors(place.read_text()), f"{target}#{anchor}"


def test_every_picture_is_made_by_a_command_and_shown():
    shown = set(re.findall(r"\]\((?:docs/)?pictures/([^)]+)\)", ALL))
    assert shown == pictures.MADE == {path.name for path in pictures.PICTURES.iterdir()}


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\(([^)#\s]+)", PAGES["README.md"]))
    assert linked >= set(PAGES) - {"README.md"}


def test_the_readme_stays_short():
    assert len(PAGES["README.md"].encode()) < 10_000
