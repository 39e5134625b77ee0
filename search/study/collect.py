"""Files in the store that no study names: counted, and removed once they are old enough.

A killed worker leaves no unnamed files (`search.worker.training_loop`), but a store may outlive
its studies: a database may be restored from a backup, a study deleted in Optuna. A young file may
be about to be named.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from search.errors import StoreError
from search.storage.blobs import Entry, marked
from search.storage.optuna_adapter import named_digests
from search.storage.workspace import Workspace, open_storage
from search.study.trials import BLOBS


@dataclass(frozen=True, slots=True)
class Orphans:
    """Files that no study names: those old enough to be removed, and younger ones. `others`:
    the studies of other databases whose marks are in the store.
    """

    old: Sequence[Entry]
    young: Sequence[Entry]
    others: Sequence[str]


def orphans(workspace: Workspace, older_s: float) -> Orphans:
    """All files in the store that no study of this workspace's database names.

    Args:
        workspace: whose store and database are compared.
        older_s: the age in seconds from which on a file is old.
    """
    entries = list(workspace.store.entries())  # read before the names, which may grow meanwhile
    named = named_digests(open_storage(workspace).engine)
    unnamed = [entry for entry in entries if entry.name not in named]
    before = time.time() - older_s
    here = f"in {workspace.place}"
    marks = {entry.name: mark for entry in unnamed if (mark := _mark(workspace, entry)) is not None}
    return Orphans(
        old=[entry for entry in unnamed if entry.written <= before],
        young=[entry for entry in unnamed if entry.written > before],
        others=[mark for mark in marks.values() if not mark.endswith(here)],
    )


def collect(workspace: Workspace, older_s: float, force: bool) -> Orphans:
    """Remove the old files that no study names; returns all unnamed files.

    Args:
        workspace: whose store is cleaned up.
        older_s: the age in seconds from which on a file is old.
        force: remove the files of other databases' studies, too.

    Raises:
        StoreError: the store is shared with another database, and `force` is false.
    """
    with workspace.lock(BLOBS):
        unnamed = orphans(workspace, older_s)
        if unnamed.others and not force:
            raise StoreError(
                f"{workspace.store.place}: it also holds the models of a study that this "
                f"database does not know ({unnamed.others[0]}); if that database is gone, remove "
                "them with force=true"
            )
        for entry in unnamed.old:
            workspace.store.remove(entry.name)
    return unnamed


def _mark(workspace: Workspace, entry: Entry) -> str | None:
    try:
        return marked(workspace.store.read(entry.name)) if entry.size_bytes < 4096 else None
    except StoreError:
        return None  # half-written, or removed meanwhile
