"""A budget is a promise: the linked firmware holds it, whichever way a network was pruned."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from pruning.budget import Budget
from pruning.cost.memory.peak import DEPLOYED, MemoryConventions
from pruning.cost.model import Encoding, deployed
from pruning.deploy import lower
from pruning.errors import BudgetError
from pruning.training.job import Job, PhaseKind, Precision
from pruning.training.state import TrainState
from pruning.training.train import int8_codes, train
from search.config.spec import Spec
from search.study.factory import SweepFactory

COMPILER = "arm-none-eabi-gcc"
NETWORKS = {
    "resnet8": ["model=resnet8", "model.filters=6"],
    "ds_cnn": ["model=ds_cnn", "model.filters=10", "+data.shape=[1,20,10]"],
    "mobilenet_v2": ["model=mobilenet_v2", "model.width=0.1"],
    "vgg16": ["model=vgg16", "model.width=0.05"],
}
Made = Callable[[str], SweepFactory]


@pytest.fixture(scope="module")
def blueprint_of(compose_spec: Callable[..., Spec], tiny: list[str]) -> Made:
    """A sweep of a network, before any training."""
    shared = [word for word in tiny if not word.startswith("model.")]
    return cache(lambda name: SweepFactory(compose_spec(*shared, *NETWORKS[name])))


def script(factory: SweepFactory, budget: Budget) -> Job:
    """As whoever writes ten lines says it."""
    job = searched(factory, budget)
    return Job(
        data=job.data,
        task=job.task,
        recipe=job.recipe,
        seed=0,
        device=replace(factory.device, flash_margin=0.0, latency_margin=0.0),
        budget=budget,
    )


def explicit(factory: SweepFactory, budget: Budget) -> Job:
    """With all that a job could find out by itself."""
    return replace(
        script(factory, budget),
        scoring=Precision.EXACT,
        encoding=Encoding.C,
        conventions=DEPLOYED,
    )


def unpruned(factory: SweepFactory, budget: Budget) -> Job:
    """Without an epoch of pruning, for a budget that the network holds as it is."""
    job = script(factory, budget)
    recipe = tuple(replace(phase, kind=PhaseKind.FINETUNE) for phase in job.recipe)
    model = job.cost_model(factory.start.graph)
    widths = factory.start.graph.channels.widths
    assume(job.limits(model).holds(model.planned_cost(widths)))
    return replace(job, recipe=recipe)


def searched(factory: SweepFactory, budget: Budget) -> Job:
    """As a sweep makes it of a trial."""
    return factory.trial_job({}, budget, 0)


DOORS = {each.__name__: each for each in (script, explicit, unpruned, searched)}


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed (make arm-gcc)"
)
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(
    door=st.sampled_from(sorted(DOORS)),
    name=st.sampled_from(sorted(NETWORKS)),
    flash=st.floats(0.3, 1.1),
    sram=st.floats(0.4, 1.05),
)
def test_linked_firmware_holds_the_budget_by_every_door(
    blueprint_of: Made, door: str, name: str, flash: float, sram: float
) -> None:
    factory = blueprint_of(name)
    start = factory.start
    dense = deployed(start.graph, factory.device).dense
    budget = Budget(
        flash_bytes=int(flash * dense.flash_bytes), sram_bytes=int(sram * dense.sram_bytes)
    )
    job = DOORS[door](factory, budget)
    state = TrainState.begin(start.graph, start.tensors, job)
    try:
        *_, last = train(state, job)
    except BudgetError:
        assume(False)
    assert job.scoring in (None, Precision.EXACT)
    measured = linked(state, job)
    assert budget.holds(replace(last.cost, **measured)), (measured, budget)


def linked(state: TrainState, job: Job) -> Mapping[str, Any]:
    """What the network takes in firmware of its core."""
    from pruning.deploy.toolchain.build import build_firmware  # its libraries are an extra

    graph, tensors = state.result()
    network = lower(graph, tensors, int8_codes(graph, tensors, job))
    firmware = build_firmware(network, job.device.core)
    return {"flash_bytes": firmware.flash_bytes, "sram_bytes": firmware.sram_bytes}


def test_a_job_counts_what_it_scores(blueprint_of: Made) -> None:
    """The costs of generated C for what has C, unless somebody says otherwise."""
    factory = blueprint_of("resnet8")
    graph, job = factory.start.graph, script(factory, Budget(sram_bytes=4_003))
    model = job.cost_model(graph)
    assert (model.encoding, model.conventions) == (Encoding.C, DEPLOYED)
    assert (factory.encoding, factory.conventions) == (Encoding.C, DEPLOYED)
    assert model == job.settled(graph).cost_model(graph)
    assert job.limits(model).sram_bytes == 4_000  # static memory takes whole words
    simulated = replace(job, scoring=Precision.SIMULATED)
    model = simulated.cost_model(graph)
    assert (model.encoding, model.conventions) == (Encoding.INT8, MemoryConventions())
    assert simulated.limits(model) == job.budget
    interpreted = replace(job, conventions=MemoryConventions()).cost_model(graph)
    assert (interpreted.encoding, interpreted.conventions) == (Encoding.C, MemoryConventions())
