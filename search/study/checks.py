"""Checks that a study still has the data, the store and the starting point it was created with."""

from search.errors import StoreError, StudyError
from search.study.study import Study


def require_data(study: Study, digest: str, first: str) -> None:
    """Refuse data other than those the study was created with, whose digest was `first`.

    Raises:
        StudyError: the digests differ.
    """
    if digest != first:
        raise StudyError(
            f"study={study.name}: the data have changed (digest {digest[:12]}, when it was "
            f"created {first[:12]}); bring the old data back, or "
            "choose another name"
        )


def require_store(study: Study) -> None:
    """Refuse a store other than the one the study was created with.

    Raises:
        StoreError: the store lacks the study's mark.
    """
    mark = study.facts.store  # older studies have none
    if mark is not None and mark not in study.workspace.store:
        raise StoreError(
            f"study={study.name}: its store is not in {study.workspace.store.place}; set "
            "storage.folder to the folder, or the address, that all workers of the study share"
        )


def require_start(study: Study, key: str, first: str | None) -> None:
    """Refuse another starting point than the one the study was created with, whose key was
    `first`; older studies have none.

    Raises:
        StudyError: the keys differ.
    """
    if first not in (None, key):
        raise StudyError(
            f"study={study.name}: the model's code or its weights file has changed since it "
            "was created; bring the old one back, or choose another name"
        )
