"""Sweeps from Python: run one, go on with one, open one, compare several."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from search.api.compose import composed, searched
from search.api.opened import study_of
from search.api.running import begin, run
from search.api.study import SweepStudy
from search.config.parse import checked_name
from search.results import compare as comparison


def sweep(
    name: str,
    overrides: Sequence[str] = (),
    *,
    workers: int = 1,
    trials: int | None = None,
    config_dir: str | Path | None = None,
    progress: bool = True,
) -> SweepStudy:
    """Prune one network under many budgets, or go on with a study where it stands.

    It is what `paring sweep` does, with the same configs, databases and worker processes: either
    goes on with a study of the other.

    Args:
        name: of the study.
        overrides: what decides the result, as on the command line: "experiment=demo",
            "model.filters=8", "shares=[0.5,0.25]". Where to keep it, too: "storage.folder=PATH".
            None is needed to go on with a study.
        workers: processes on this machine; in a script they need `if __name__ == "__main__":`.
            They import the modules that `_target_`s name, so networks live in files.
        trials: in all; None: one for every budget.
        config_dir: a folder with choices of your own, such as `device/mine.yaml`.
        progress: whether a line is printed for every trial that is over.

    Returns:
        The study, with its `front()`, `figure()`, `pick(device=...)` and `verify()`.

    Raises:
        ConfigError: a setting that does not exist or makes no sense. BudgetError: every budget is
            out of reach. StudyError: the study was made with other settings, was halted, or no
            trial has a model.

    Example:
        >>> import search
        >>> search.sweep("demo", ["experiment=demo"], workers=2)  # doctest: +SKIP
        >>> search.sweep("a", ["modle=resnet8"])
        Traceback (most recent call last):
            ...
        search.errors.ConfigError: there is no setting 'modle'; did you mean model?
    """
    words = [f"study={checked_name(name)}", f"workers={workers}", *overrides]
    words += [] if trials is None else [f"trials={trials}"]
    words += searched(config_dir)
    begun = begin(composed("sweep", words), words)
    run(begun, progress)
    return SweepStudy(begun.study)


def load_study(name: str, overrides: Sequence[str] = ()) -> SweepStudy:
    """A study that exists, to look at or to control.

    Args:
        name: its name.
        overrides: where it is, as on the command line: "storage.folder=PATH", "storage=postgres".

    Raises:
        StudyError: there is none; the message lists those that exist. ConfigError: a setting that
            does not exist.

    Example:
        >>> import search
        >>> search.load_study("demo", ["storage.folder=/nowhere"])
        Traceback (most recent call last):
            ...
        search.errors.StudyError: there are no studies in /nowhere; ...
    """
    words = [f"study={checked_name(name)}", *overrides]
    return SweepStudy(study_of(composed("status", words)))


def compare(studies: Sequence[SweepStudy]) -> pd.DataFrame:
    """The fronts of several studies beside each other.

    Args:
        studies: two or more, of one metric and one data set.

    Returns:
        A row a study, by its name: how many trials have finished and are on its front, the best
        score, the hypervolume on the scale of the first study's dense network, and how many
        points of its front a point of another study's front dominates.

    Raises:
        StudyError: they cannot be compared; the message says why.

    Example:
        >>> import search
        >>> search.compare([search.load_study(name) for name in "ab"])  # doctest: +SKIP
    """
    sides = comparison.compare([each.study for each in studies])
    return pd.DataFrame(map(asdict, sides)).set_index("study")
