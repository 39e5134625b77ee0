"""The order of MLflow's page of a study's runs."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tracking.mlflow.client import cut
from tracking.mlflow.views import order_of, shared_view

SCORES = st.floats(allow_nan=False, allow_infinity=False)


@given(SCORES, SCORES, st.booleans())
def test_texts_are_in_the_order_of_the_scores(one: float, other: float, rises: bool) -> None:
    better = one > other if rises else one < other
    if one != other:
        assert (order_of(True, one, rises) > order_of(True, other, rises)) is better
    assert order_of(True, one, rises) > order_of(False, other, rises)


def test_mlflow_takes_the_view_whole() -> None:
    assert cut(shared_view()) == shared_view()
    assert len(json.loads(shared_view())["compareRunCharts"]) == 3
