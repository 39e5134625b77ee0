"""Where a study's numbers come from: code, data and libraries."""

import importlib.metadata
import subprocess

from pruning.data import Dataset

LIBRARIES = ("paring", "torch", "optuna", "mlflow", "numpy")


def provenance(data: Dataset, model: str) -> dict[str, str]:
    """Versions of the libraries, the commit of the working folder, the network by the function or
    class that makes it, and the data, as tags.
    """
    versions = {f"version.{name}": importlib.metadata.version(name) for name in LIBRARIES}
    network = model.rpartition(".")[2]
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
