"""Models as files without the study that they are from: from a file, and from a run in MLflow."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from search.config.schema import StorageConfig
from search.results.report import run_ids
from search.storage.workspace import open_workspace
from search.study.study import require_study

pytestmark = pytest.mark.slow
Paring = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(paring: Paring, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run of a trial whose model was exported as C and as safetensors, in a folder where
    nothing but MLflow is left.
    """
    monkeypatch.chdir(tmp_path)
    code, _, err = paring("sweep", "study=s", *tiny, "workers=1")
    assert code == 0, err
    for form in ("c", "safetensors"):
        code, _, err = paring("export", "study=s", "trial=0", f"format={form}", f"out={form}")
        assert code == 0, err
    study = require_study(open_workspace(StorageConfig(folder=".paring")), "s")
    found = run_ids(study)[0]
    (tmp_path / ".paring" / "optuna.db").unlink()
    return found


def code_of(folder: str) -> str:
    """Generated C without the comment that says where it is from."""
    return Path(folder, "model.c").read_text().partition("*/")[2]


def test_a_run_and_a_file_give_the_same_c_without_the_study(paring: Paring, run: str) -> None:
    assert paring("export", "study=s", "trial=0")[0] == 2  # it is gone
    for source in (f"run={run}", "file=safetensors/model.safetensors"):
        code, out, err = paring("export", source, "format=c", f"out=from_{source[:3]}")
        assert (code, err) == (0, "")
        assert "model.c" in out
        folder = f"from_{source[:3]}"
        assert code_of(folder) == code_of("c")
        for name in ("model.h", "kernels.c", "kernels.h", "main.c"):
            assert (
                Path(folder, name).read_text().partition("*/")[2]
                == (Path("c", name).read_text().partition("*/")[2])
            )
        assert "accuracy" in Path(folder, "README.md").read_text()
        origin = "From run" if source.startswith("run") else "From model.safetensors"
        assert origin in Path(folder, "model.c").read_text()
    stored = Path("safetensors/model.safetensors").read_bytes()
    assert paring("export", f"run={run}", "out=network")[0] == 0
    assert Path("network/model.safetensors").read_bytes() == stored


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "export: of what? Give one of study=NAME"),
        (["study=s", "trial=0", "file=a"], "export: of what? Give one of"),
        (["study=s"], "trial=None: write the number of a trial"),
        (["file=nowhere.safetensors"], "file=nowhere.safetensors: No such file"),
        (["file=own.json"], "paring.network/2"),
        (["run=0123"], "there is no MLflow in"),
    ],
)
def test_what_cannot_be_exported_is_said(
    paring: Paring,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.json").write_text(json.dumps({"own": 1}))
    code, _, err = paring("export", *words)
    assert code == 2
    assert message in err


def test_a_run_without_a_network_is_refused(paring: Paring, run: str) -> None:
    assert run
    code, _, err = paring("export", "run=0123456789abcdef0123456789abcdef", "out=none")
    assert (code, Path("none").exists()) == (2, False)
    assert "0123456789abcdef0123456789abcdef" in err
