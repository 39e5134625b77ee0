"""A small network and the job to prune it."""

from dataclasses import replace
from functools import cache

import torch
from torch import nn

from pruning.budget import Budget, Device
from pruning.data import Augment, synthetic
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from pruning.tasks import Task, sgd
from pruning.training.job import Job, Phase, PhaseKind, Pruning
from pruning.training.train import TrainState

RECIPE = (
    Phase(kind=PhaseKind.DENSE, epochs=1, lr_factor=(1.0, 0.8)),
    Phase(kind=PhaseKind.PRUNE, epochs=3, lr_factor=(0.8, 0.5)),
    Phase(kind=PhaseKind.FINETUNE, epochs=1, lr_factor=(0.5, 0.0)),
)


class Tiny(nn.Module):
    """A residual block, a depthwise convolution, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU())
        self.inner = nn.Sequential(
            nn.Conv2d(10, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 10, 1, bias=False), nn.BatchNorm2d(10),
        )  # fmt: skip
        self.drop, self.last = nn.Dropout(0.2), nn.Linear(10 * 16, 4)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.inner(x))
        return self.last(self.drop(nn.functional.max_pool2d(x, 2).flatten(1)))


@cache
def tiny() -> tuple[Graph, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    model = Tiny()
    return trace(model, torch.zeros(1, 8, 8)), model.state_dict()


def starting(job: Job) -> TrainState:
    return TrainState.begin(*tiny(), job)


def make_job(device: Device, **changes) -> Job:
    job = Job(
        data=synthetic(train=66, validation=32, test=32, noise=1.5),
        task=Task(
            optimizer=sgd(lr=0.05),
            augment=Augment(shift=1, flip=True, noise=0.1, cutout=2),
            batch_size=16,
        ),
        recipe=RECIPE,
        seed=3,
        device=device,
        pruning=Pruning(update_interval=2, removal_interval=4, reserve=0.05, anneal_end=0.8),
    )
    dense = job.cost_model(starting(job).graph).dense
    budget = Budget(
        flash_bytes=int(dense.flash_bytes * 0.6),
        sram_bytes=int(dense.sram_bytes * 0.7),
        latency_ms=dense.latency_ms * 0.5,
    )
    return replace(job, **{"budget": budget, **changes})
