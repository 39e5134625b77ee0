"""A trained network as it is stored: its file, its cost, its integers."""

from dataclasses import astuple, replace

from pruning.budget import Cost
from pruning.cost.memory.peak import DEPLOYED
from pruning.cost.model import CostModel
from pruning.deploy import IntegerNetwork, lower, plan, require_deployable
from pruning.execution.fake_quant import QuantParams
from pruning.training.checkpoint import StoredNetwork, pack_network
from pruning.training.job import Job, Precision
from pruning.training.state import TrainState
from pruning.training.train import int8_codes
from search.errors import ConfigError, StudyError
from search.storage.trial_record import result_of
from search.study.study import Study

MODEL = "model.safetensors"


def packed(state: TrainState, job: Job) -> bytes:
    """The file of a trained network. Its notes give the normalisation of the input, the score,
    and the scale and zero point of each buffer if it was scored with these.
    """
    graph, tensors = state.result()
    exact = job.scoring is Precision.EXACT
    codes = int8_codes(graph, tensors, job) if exact else {}
    notes = {
        "codes": {name: list(astuple(code)) for name, code in codes.items()},
        "classes": list(job.data.classes),
        "mean": list(job.data.mean),
        "std": list(job.data.std),
        "data": {"name": job.data.name, "digest": job.data.digest},
        "metric": job.task.metric.name,
        "score": state.history[-1].score,
        "precision": job.scoring,
        "device": job.device.name,
    }
    return pack_network(graph, tensors, notes)


def start_digest(study: Study, parent: int | None) -> str:
    """The digest of the network that the trials with this parent start from; None: the dense one.

    Raises:
        StudyError: the parent has no model, or the dense network is not trained yet.
    """
    if parent is None:
        if (dense := study.notes().dense) is not None:
            return dense.digest
        raise StudyError(f"study={study.name}: its dense network is not trained yet; start workers")
    if (result := result_of(study.trials()[parent])) is not None:
        return result.files[MODEL]
    raise StudyError(
        f"study={study.name}: trial {parent} has no model that others could start from"
    )


def integer_network(network: StoredNetwork) -> IntegerNetwork:
    """The integers that a stored network was scored with.

    Raises:
        DeployError: it has no integer form. ConfigError: it was scored in simulation.
    """
    require_deployable(network.graph)
    if not network.notes.get("codes"):
        raise ConfigError(
            f"this model was scored with precision={network.notes.get('precision')} and has no "
            "integers of its own: run a new sweep with precision=int8-exact"
        )
    codes = {name: QuantParams(*code) for name, code in network.notes["codes"].items()}
    return lower(network.graph, network.tensors, codes)


def stored_cost(stored: StoredNetwork, model: CostModel) -> tuple[Cost, int | None]:
    """The cost of a stored network, and the bytes of its C arena if there is one.

    The arena counts as its memory if it is larger than the peak: buffers may leave gaps in it.
    """
    if model.conventions != DEPLOYED or not stored.notes["codes"]:
        return model.dense, None
    arena = plan(integer_network(stored)).arena_bytes
    return replace(model.dense, sram_bytes=max(model.dense.sram_bytes, arena)), arena
