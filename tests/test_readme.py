"""The README is true: its commands compose, its code runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    """Every `paring VERB ...` of the shell blocks, on one line and without its comment."""
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [
        shlex.join(shlex.split(line, comments=True)[1:])
        for line in text.splitlines()
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


def test_the_readme_shows_commands():
    assert len(commands()) >= 8
    assert {command.split()[0] for command in commands()} >= {
        "sweep",
        "front",
        "serve",
        "worker",
    }


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_of_the_readme_composes(command, tmp_path, monkeypatch, capsys):
    from search.cli import main

    monkeypatch.chdir(tmp_path)
    verb, *overrides = shlex.split(command)
    if "-m" in overrides:  # Hydra shows no config of a sweep: look at its first job
        overrides = [re.sub(r"range\(0,\d+\)", "0", word) for word in overrides if word != "-m"]
    assert main.run(verb, [*overrides, "--cfg", "job"]) == 0
    assert "storage" in capsys.readouterr().out


def test_the_makefile_has_every_target_of_the_readme():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(
        re.findall(
            r"\bmake ([a-z-]+)\b", " ".join(re.findall(r"`[^`]*`|```.*?```", README, re.DOTALL))
        )
    )
    assert {"demo", "test", "lint"} <= named <= targets


def test_every_config_group_and_choice_is_in_the_table():
    for folder in sorted(p for p in (ROOT / "conf").iterdir() if p.is_dir()):
        if folder.name in ("hydra", "__pycache__"):
            continue
        row = next(line for line in README.splitlines() if line.startswith(f"| `{folder.name}` |"))
        choices = {path.stem for path in folder.glob("*.yaml")}
        assert choices == set(re.findall(r"`(\w+)`", row.split("|")[2])), folder.name


def test_the_engine_runs_without_the_service(tmp_path):
    (code,) = [block for block in blocks("python") if "TrainState.begin" in block]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 8


@pytest.mark.slow
def test_own_model_and_data(tmp_path):
    (code,) = [block for block in blocks("python") if "class Net" in block]
    (tmp_path / "mynet.py").write_text(code)
    (command,) = [c for c in commands() if "mynet.Net" in c]
    short = ["method.phases.dense_epochs=1", "method.phases.prune_epochs=1"]
    done = run(*shlex.split(command), *short, "method.phases.finetune_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[2/2]" in done.stderr
