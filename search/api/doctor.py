"""Checks of what a sweep needs; each says what is wrong and the cure."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import torch

from pruning.training.job import fast_precision
from search.config.cores import cores
from search.config.places import local_folder
from search.config.schema import StorageConfig
from search.errors import StoreError
from search.storage.workspace import Workspace, open_workspace
from search.study.collect import orphans
from tracking.databases.database import check
from tracking.errors import TrackingError
from tracking.tables import size

LEAST_FREE_BYTES = 2 << 30
A_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and the cure where it is not good."""

    what: str
    good: bool
    found: str
    cure: str = ""


def examined(storage: StorageConfig) -> list[Finding]:
    """Every check, of this machine and of where studies live."""
    return [*machine(local_folder(storage.folder)), *stores(storage)]


def machine(folder: Path) -> Iterator[Finding]:
    """Python, torch, threads and disk."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    works = torch.ones(2).sum().item() == 2
    where = "with CUDA" if torch.cuda.is_available() else "CPU"
    yield Finding("torch", works, f"{torch.__version__}, {where}", "reinstall torch")
    usable, threads = cores(), torch.get_num_threads()
    yield Finding(
        "threads",
        threads <= usable,
        f"{threads} torch threads on {usable} cores",
        "unset OMP_NUM_THREADS, or set it to at most cores / workers",
    )
    fast = fast_precision("cpu")
    found = "fast" if fast == "bf16" else "computed in software, ten times slower than fp32"
    yield Finding("bf16", True, f"{found} on this processor")
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    cure = f"free some space, or set storage.folder; {LEAST_FREE_BYTES >> 30} GiB are recommended"
    yield Finding("free disk", free >= LEAST_FREE_BYTES, f"{free / (1 << 30):.1f} GiB", cure)


def stores(storage: StorageConfig) -> Iterator[Finding]:
    """Both databases, and the store."""
    try:
        workspace = open_workspace(storage)
    except TrackingError as error:
        yield Finding("databases", False, str(error), "see the message")
        return
    yield _tried("Optuna's database", lambda: str(check(workspace.databases.optuna, "Optuna")))
    yield _tried("MLflow's database", lambda: str(check(workspace.databases.mlflow, "MLflow")))
    yield _tried("store", lambda: _round_trip(workspace))
    yield _tried("unused files", lambda: _orphans(workspace))


def _tried(what: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, attempt())
    except Exception as error:  # whatever it is, it belongs into the report
        return Finding(what, False, str(error), "see the message")


def _round_trip(workspace: Workspace) -> str:
    """Write, read and remove a blob."""
    store, content = workspace.store, f"paring doctor, {uuid4().hex}".encode()
    digest = store.put(content)
    store.read(digest)  # checks it against its name
    store.remove(digest)
    return f"writable: {store.place}"


def _orphans(workspace: Workspace) -> str:
    """Count the files that no study names.

    Raises:
        StoreError: there are old ones, which can be removed.
    """
    found = orphans(workspace, A_DAY_S)
    old = f"{len(found.old)} older than a day, {size(sum(e.size_bytes for e in found.old))}"
    told = f"{old}, {len(found.young)} younger"
    if found.others:
        return f"{told}; the store is another database's, too ({found.others[0]})"
    if found.old:
        raise StoreError(f"{told}: remove the old ones with paring collect")
    return told
