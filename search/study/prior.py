"""What a sampler knows of earlier studies (`prior_studies`): their finished trials, as this study
would have drawn them.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.errors import ConfigError
from search.storage.workspace import Workspace
from search.study.space import Parameter, distribution, parameters
from search.study.study import Study, require_study

log = logging.getLogger("paring.sweep")


def require_prior(
    workspace: Workspace, names: Sequence[str], metric: str, objectives: Sequence[str]
) -> None:
    """Refuse earlier studies from which a sampler can learn nothing.

    Raises:
        StudyError: there is no such study. ConfigError: it has another metric or objectives.
    """
    for name in names:
        prior = require_study(workspace, name)
        theirs = (prior.facts.metric, tuple(prior.objectives))
        if theirs != (metric, tuple(objectives)):
            raise ConfigError(
                f"prior_studies: {name} has metric {theirs[0]} and objectives "
                f"{', '.join(theirs[1])}; this study has {metric} and {', '.join(objectives)}. "
                "Leave it out, or make them the same"
            )


def prior_trials(study: Study) -> list[FrozenTrial]:
    """The finished trials of earlier studies whose hyperparameters this study's space has, too.

    A study that is gone by now is left out, with a line in the log.
    """
    names = study.spec.values.get("prior_studies") or ()
    known = {parameter.name: parameter for parameter in parameters(study.spec["space"])}
    return [trial for name in names for trial in _of(study, name, known)]


def _of(study: Study, name: str, known: Mapping[str, Parameter]) -> Iterator[FrozenTrial]:
    try:
        prior = optuna.load_study(study_name=name, storage=study.storage)
    except KeyError:
        log.warning("prior_studies: %s is gone, and nothing is learnt from it", name)
        return
    for trial in prior.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if (ours := _as_ours(trial, known)) is not None:
            yield ours


def _as_ours(trial: FrozenTrial, known: Mapping[str, Parameter]) -> FrozenTrial | None:
    """A trial as if this study had drawn it; None where it could not have."""
    params = trial.params
    applying = {name for name, parameter in known.items() if parameter.applies(params)}
    if not params or params.keys() != applying:
        return None
    distributions = {name: distribution(known[name].domain) for name in params}
    try:
        return optuna.create_trial(params=params, distributions=distributions, values=trial.values)
    except ValueError:  # a value outside
        return None
