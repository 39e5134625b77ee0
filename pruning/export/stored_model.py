"""A trained network as it is stored: its file, its cost, its integers."""

from dataclasses import astuple, replace

import numpy as np

from pruning.budget import Cost
from pruning.cost.memory.peak import DEPLOYED
from pruning.cost.model import CostModel
from pruning.data import Dataset
from pruning.deploy import IntegerNetwork, lower, plan, require_deployable
from pruning.deploy.integer_ir import HIGH, LOW, Codes
from pruning.errors import DeployError
from pruning.execution.fake_quant import QuantParams
from pruning.training.checkpoint import StoredNetwork, pack_network
from pruning.training.job import Job, Precision
from pruning.training.state import TrainState
from pruning.training.train import int8_codes

MODEL = "model.safetensors"
SAMPLES = 4  # of the validation set; as many inputs are drawn from all codes


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


def integer_network(network: StoredNetwork) -> IntegerNetwork:
    """The integers that a stored network was scored with.

    Raises:
        DeployError: it has no integer form, or was scored without.
    """
    require_deployable(network.graph)
    if not network.notes.get("codes"):
        raise DeployError(
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


def probes(data: Dataset, network: IntegerNetwork) -> Codes:
    """Inputs by which a deployed network is compared with its own integers: samples of the
    validation set, and codes from all over their range. (2 * SAMPLES, channels, *spatial).
    """
    shape = network.shapes["input"]
    real = network.quantized(data.normalise(data.validation.inputs[:SAMPLES]).numpy())
    drawn = np.random.default_rng(0).integers(LOW, HIGH + 1, (SAMPLES, *shape))
    return np.concatenate([real.reshape(-1, *shape), drawn.astype(np.int8)])
