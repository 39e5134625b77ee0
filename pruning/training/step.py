"""One step of the optimizer."""

import numpy as np
from torch import Tensor

from pruning.errors import DivergedError
from pruning.execution.fake_quant import FakeQuant
from pruning.execution.network import first_output
from pruning.training.job import Job
from pruning.training.state import Masked, TrainState


def set_lr(state: TrainState, factor: float) -> None:
    """Set the learning rate to `factor` times the optimizer's own."""
    for group in state.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def train_step(
    state: TrainState,
    job: Job,
    inputs: Tensor,
    targets: Tensor,
    rounding: FakeQuant | None = None,
) -> float:
    """Train on one batch; returns its loss. While the network is being pruned, the gradient of
    its mask updates the saliency.

    Raises:
        DivergedError: the loss is no longer a number.
    """
    stage, mask = state.stage, None
    if isinstance(stage, Masked):
        mask = stage.masks.kept.float().to(job.accelerator.device).requires_grad_()
    with job.accelerator.autocast():
        outputs = first_output(state.network(job.accelerator.place(inputs), mask, rounding))
        loss = job.task.loss(outputs, targets.to(outputs.device))
    value = loss.item()
    if not np.isfinite(value):
        raise DivergedError(
            f"the training loss is {value} in epoch {state.epoch + 1}; lower the learning rate"
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    if isinstance(stage, Masked) and mask is not None and mask.grad is not None:
        stage.masks.update_saliency(mask.grad.cpu(), job.pruning.saliency_decay)
    return value
