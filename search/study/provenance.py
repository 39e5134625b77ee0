"""Where a study's numbers come from: code, data and libraries."""

import importlib.metadata
import subprocess
from collections.abc import Sequence

from pruning.data import Dataset

LIBRARIES = ("paring", "torch", "optuna", "mlflow", "numpy")


def provenance(data: Dataset, models: Sequence[str]) -> dict[str, str]:
    """Versions of the libraries, the commit of the working folder, the networks by the functions
    or classes that make them, and the data, as tags.
    """
    versions = {f"version.{name}": importlib.metadata.version(name) for name in LIBRARIES}
    network = ", ".join(model.rpartition(".")[2] for model in models)
    return {
        **versions, **_git(), "network": network, "data": data.name, "data.digest": data.digest,
    }  # fmt: skip


def _git() -> dict[str, str]:
    """The commit and whether there are changes on top, where this is a git checkout."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {
            "git.commit": ask("rev-parse", "HEAD"),
            "git.dirty": str(bool(ask("status", "--porcelain"))).lower(),
        }
    except (OSError, subprocess.SubprocessError):
        return {"git.commit": "none", "git.dirty": "false"}
