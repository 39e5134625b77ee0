"""README and docs are true: their commands compose, their code runs, their links lead somewhere."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pruning.deploy.toolchain import build
from search.cli.reference import reference

ROOT = Path(__file__).parent.parent
FILES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(FILES)}
ALL = "\n".join(PAGES.values())


def blocks(language: str, text: str = ALL) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str = ALL) -> list[str]:
    """Every `paring VERB ...` of the shell blocks, on one line and without its comment."""
    lines = "\n".join(blocks("sh", text)).replace("\\\n", " ").splitlines()
    return [
        shlex.join(shlex.split(line, comments=True)[1:])
        for line in lines
        if re.match(r"(\.venv/bin/)?paring ", line)
    ]


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


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_of_the_pages_composes(command, tmp_path, monkeypatch, capsys):
    from search.cli import main

    monkeypatch.chdir(tmp_path)
    verb, *overrides = shlex.split(command)
    if "-m" in overrides:  # Hydra shows no config of a sweep: look at its first job
        overrides = [re.sub(r"range\(0,\d+\)", "0", word) for word in overrides if word != "-m"]
    assert main.run(verb, [*overrides, "--cfg", "job"]) == 0
    assert "debug: false" in capsys.readouterr().out


def test_the_makefile_has_every_target_that_is_named():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(
        re.findall(
            r"\bmake ([a-z-]+)\b", " ".join(re.findall(r"`[^`]*`|```.*?```", ALL, re.DOTALL))
        )
    )
    assert {"demo", "test", "lint"} <= named <= targets


def test_every_config_group_and_choice_is_in_the_table():
    places = (*(ROOT / "conf").iterdir(), *(ROOT / "pruning" / "catalogue").iterdir())
    for folder in sorted(place for place in places if place.is_dir()):
        if folder.name in ("hydra", "__pycache__"):
            continue
        row = next(
            line
            for line in PAGES["docs/cli.md"].splitlines()
            if line.startswith(f"| `{folder.name}` |")
        )
        choices = {path.stem for path in folder.glob("*.yaml")}
        assert choices == set(re.findall(r"`(\w+)`", row.split("|")[2])), folder.name


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
    compiled = shutil.which(build.COMPILER) is not None
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
    assert len(snippets) == 3
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
    shutil.which(build.COMPILER) is None,
    reason=f"{build.COMPILER} is not installed (make system-deps)",
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


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", PAGES[page]):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_verb_is_on_the_page_of_commands():
    from search.cli.main import VERBS

    listed = set(re.findall(r"`(\w+)`", "\n".join(
        line.split("|")[1] for line in PAGES["docs/cli.md"].splitlines() if line.startswith("| `")
    )))  # fmt: skip
    assert set(VERBS) <= listed


def test_the_page_of_settings_is_made_of_today_s_files():
    assert PAGES["docs/settings.md"] == reference(), "run: make docs"


def test_the_readme_stays_short():
    assert len(PAGES["README.md"].encode()) < 10_000
