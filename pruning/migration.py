"""Words of earlier file formats, and those that took their place: the one table of the engine.

Format 1 was written by paring 0.1.0. Files of format 1 are read in today's words; digests are
taken over the words of format 1, so that a network keeps its digest.
"""

from collections.abc import Mapping
from typing import Any

KINDS = {  # of operators and kernels
    "divide": "div",
    "move": "gather",
    "multiply": "mul",
    "subtract": "sub",
    "transposed": "conv_transpose",
}
PHASES = {"quantise": "quantize"}
MASKS = {"probes": "sensitivity_runs", "salience": "saliency"}
_KINDS_OF_1 = {new: old for old, new in KINDS.items()}


def graph_of_format_1(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a graph of format 1, in today's words."""
    return _renamed(graph, KINDS)


def graph_in_format_1(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a graph in the words of format 1, for digests."""
    return _renamed(graph, _KINDS_OF_1)


def _renamed(graph: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    operators = [
        {**operator, "kind": kinds.get(operator["kind"], operator["kind"])}
        for operator in graph["operators"]
    ]
    return {**graph, "operators": operators}
