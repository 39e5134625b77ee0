"""The networks that trials start from: the dense one, or that of an earlier trial."""

from pruning.export.stored_model import MODEL
from search.errors import StudyError
from search.storage.trial_record import result_of
from search.study.study import Study


def start_digest(study: Study, key: str, parent: int | None) -> str:
    """The digest of the network that the trials with this parent start from; None: the dense one
    of a key.

    Raises:
        StudyError: the parent has no model, or the dense network is not trained yet.
    """
    if parent is None:
        if (dense := study.notes().dense.get(key)) is not None:
            return dense.digest
        raise StudyError(f"study={study.name}: its dense network is not trained yet; start workers")
    if (result := result_of(study.trials()[parent])) is not None:
        return result.files[MODEL]
    raise StudyError(
        f"study={study.name}: trial {parent} has no model that others could start from"
    )
