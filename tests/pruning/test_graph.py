"""Graphs as data."""

import json

import pytest

from pruning.graph.graph import Graph
from pruning.ir.operator import INPUT, Operator

ODD = ["excite", "stacked", "multiplier", "waves", "spread", "overwriting"]


def test_lookup_and_consumers(odd):
    graph, _ = odd("stacked")
    assert graph["a"].kind == "conv"
    assert graph.shape(INPUT) == graph.input_shape == (3, 6, 6)
    consumers = {name: [o.name for o in users] for name, users in graph.consumers().items()}
    assert consumers[INPUT] == ["a", "b", "whole"]
    assert consumers["cat"] == ["add", "cat:2"]
    assert consumers["last"] == []
    assert set(consumers) == {INPUT, *(o.name for o in graph.operators)}


def test_a_value_read_twice_by_one_operator_has_one_consumer():
    both = Operator(name="both", kind="add", inputs=(INPUT, INPUT), shape=(2, 3))
    graph = Graph(input_shape=(2, 3), operators=(both,), outputs=("both",))
    assert graph.consumers()[INPUT] == [both]
    assert both.elements_per_channel == 3


@pytest.mark.parametrize("name", ODD)
def test_json_round_trip(odd, name):
    graph, _ = odd(name)
    back = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert back == graph
    assert back.channels.groups == graph.channels.groups


def test_graphs_that_differ_are_not_equal(odd):
    assert odd("excite")[0] != odd("excite-linear")[0]
