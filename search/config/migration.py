"""Settings of earlier versions, and those that took their place: the one table of the service.

Studies of format 1 were created by paring 0.1.0. Their specs are read in today's words; what
their sampler draws keeps its name, as their trials bear it.
"""

from collections.abc import Mapping
from typing import Any

from pruning.migration import KINDS

SETTINGS = {
    "fresh": "reinit",
    "keep": "ignored_layers",
    "least": "min_channels",
    "align": "round_to",
    "budget.scale": "budget.shares",
    "budget.power": "budget.exponents",
    "stopping.fewest": "stopping.min_trials",
    "method.power": "method.loss_exponent",
    "method.trust": "method.shrinkage_factor",
    "method.vanish": "method.remove_branches",
    "method.every": "method.update_interval",
    "method.probes": "method.sensitivity_runs",
    "method.probe_samples": "method.sensitivity_samples",
    "method.race": "method.selection_share",
    "method.racers": "method.selection_candidates",
    "method.memory": "method.saliency_decay",
    "method.settle": "method.anneal_end",
    "method.remove_every": "method.removal_interval",
    "method.slack": "method.reserve",
    "method.phases.rate": "method.phases.lr_factor",
}
RENAMED = {  # besides: what studies do not store
    **SETTINGS,
    "scale": "shares",
    "quantise": "quantize",
    "storage.grace_s": "storage.lease_s",
}


def new_name(path: str) -> str | None:
    """What to say of a setting that has another name by now; None of any other."""
    now = RENAMED.get(path)
    return None if now is None else f"{path} is called {now} by now; write {now}=..."


def spec_of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a study of format 1, in today's words."""
    renamed = _renamed(values, "")
    device = dict(renamed.get("device", {}))
    if loops := device.get("loops"):
        device["loops"] = {KINDS.get(kind, kind): rates for kind, rates in loops.items()}
        renamed["device"] = device
    return renamed


def _renamed(values: Mapping[str, Any], above: str) -> dict[str, Any]:
    renamed = {}
    for key, value in values.items():
        path = f"{above}{key}"
        name = SETTINGS[path].rpartition(".")[2] if path in SETTINGS else key
        inner = f"{path}." if path in ("budget", "stopping", "method", "method.phases") else None
        renamed[name] = _renamed(value, inner) if inner and isinstance(value, Mapping) else value
    return renamed
