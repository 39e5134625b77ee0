"""One step of the optimizer."""

import numpy as np
from torch import Tensor

from pruning.errors import DivergedError
from pruning.execution.fake_quant import FakeQuant
from pruning.execution.network import first_output
from pruning.training.job import Job
from pruning.training.state import TrainState


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
    """Train on one batch; returns its loss. Open masks see the gradient of the mask.

    Raises:
        DivergedError: the loss is no longer a number.
    """
    mask = None
    if state.masks is not None:
        mask = state.masks.kept.float().to(job.accelerator.device).requires_grad_()
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
    if state.masks is not None and mask is not None and mask.grad is not None:
        state.masks.update_saliency(mask.grad.cpu(), job.pruning.saliency_decay)
    return value
