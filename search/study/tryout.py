"""A study tried out before it is created: what workers will build is built once."""

import contextlib
from collections.abc import Iterator, Mapping

import optuna
from optuna.study import StudyDirection

from pruning.budget import Budget
from pruning.deploy import calibrate, lower, require_deployable
from pruning.errors import PruningError
from pruning.execution.network import Network, first_output
from pruning.training.job import Job, Precision
from pruning.training.state import TrainState
from search.config.instantiate import TARGET
from search.config.spec import Spec
from search.errors import ConfigError
from search.study.factory import SweepFactory
from search.study.sampling import configured
from search.study.space import corners, name_of, suggest
from search.study.study_record import VariantFacts

TARGETS = ("any", "c", "tflite")


def require_form(factory: SweepFactory, target: str) -> None:
    """Refuse a network that cannot be deployed in the form that is asked for, before training.

    Raises:
        ConfigError: there is no such form. DeployError: naming the obstacle.
    """
    if target not in TARGETS:
        raise ConfigError(f"target={target}: write one of {', '.join(TARGETS)}")
    graph, tensors = factory.start.graph, factory.start.tensors
    if target != "any":
        require_deployable(graph)
        if factory.precision is not Precision.EXACT:
            raise ConfigError(
                f"target={target}: what is scored with precision={factory.precision} has no "
                "such form; leave precision out"
            )
    if target == "tflite":
        from pruning.deploy.backends.tflite import tflite_file  # its libraries are an extra

        inputs = factory.data.normalise(factory.data.train.inputs[:2])
        tflite_file(lower(graph, tensors, calibrate(graph, tensors, inputs)))


def try_out(factory: SweepFactory, variant: VariantFacts, budget: Budget) -> None:
    """Build what workers will build, so that a setting that cannot be used is refused at once."""
    _try_job(factory, factory.dense_job(), "task.optimizer")
    for params in ({}, *corners(factory.spec["space"], variant.params)):
        choice = name_of(params)
        job = factory.trial_job(params, budget, factory.spec["seed"])
        _try_job(factory, job, f"space: {choice}" if choice else "task.optimizer")
    _judge(factory)


def try_sampler(spec: Spec, directions: Mapping[str, str]) -> None:
    """Let the sampler choose for two trials that are never run.

    Raises:
        ConfigError: there is no such sampler, or it cannot be used for these objectives.
    """
    study = optuna.create_study(
        directions=[StudyDirection[way.upper()] for way in directions.values()]
    )
    for number in range(2):
        study.sampler = configured(spec, number)
        try:
            trial = study.ask()
            suggest(trial, spec["space"])
        except (ValueError, NotImplementedError) as error:
            raise ConfigError(
                f"sampler: {spec['sampler'][TARGET]} cannot be used for {len(directions)} "
                f"objectives: {error}; choose another, or objectives=[score]"
            ) from error
        study.tell(trial, [float(number)] * len(directions))


def _try_job(factory: SweepFactory, job: Job, setting: str) -> None:
    start = factory.start
    with tried(setting):
        TrainState.begin(start.graph, start.tensors, job)


@contextlib.contextmanager
def tried(setting: str) -> Iterator[None]:
    """Name the setting whose code, perhaps the user's own, fails in any way."""
    try:
        yield
    except PruningError:
        raise
    except Exception as error:
        raise ConfigError(f"{setting}: {type(error).__name__}: {error}") from error


def _judge(factory: SweepFactory) -> None:
    """Compute the loss of two samples, to see that the network fits the task."""
    data, start = factory.data, factory.start
    task = factory.task().fitted(data.train.targets, len(data.classes))
    task.require_shape(start.graph.shape(start.graph.outputs[0]), len(data.classes))
    clean = data.normalise(data.train.inputs[:2])
    outputs = first_output(Network(start.graph, start.tensors).eval()(clean))
    with tried("task.loss"):
        task.loss(outputs, task.aim(clean, data.train.targets[:2]))
