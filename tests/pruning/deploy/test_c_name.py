"""What a network may be called in generated C."""

import pytest

from pruning.deploy import c_files
from pruning.deploy.backends.c_name import LONGEST, checked_c_name
from pruning.errors import DeployError
from tests.pruning.deploy.lowered import drawn, lowered, traced


@pytest.mark.parametrize("name", ["model", "kws", "KWS2", "visual_wake_words", "a" * LONGEST])
def test_names_that_c_can_begin_with(name):
    assert checked_c_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "letters, digits"),
        ("2kws", "beginning with a letter"),
        ("_kws", "beginning with a letter"),
        ("key-words", "letters, digits"),
        ("kws\n", "letters, digits"),
        ("w\u00f6rter", "letters, digits"),
        ("../kws", "letters, digits"),
        ("a" * (LONGEST + 1), f"use 1 to {LONGEST}"),
        (3, "letters, digits"),
        (True, "letters, digits"),
        (None, "letters, digits"),
        ("kws__2", "keeps names"),
        ("kws_", "keeps names"),  # kws__run
        ("int", "keyword"),
        ("class", "keyword"),
        ("co_await", "keyword"),
        ("kernels", "have this name"),
        ("main", "have this name"),
        ("String", "have this name"),  # where files are found whatever their case
        ("test", "have this name"),
    ],
)
def test_others_are_refused(name, reason):
    with pytest.raises(DeployError, match=reason) as caught:
        checked_c_name(name)
    assert f"name={name}" in str(caught.value)


def test_no_c_is_written_under_such_a_name():
    graph, tensors = traced("narrow")
    with pytest.raises(DeployError, match="name=while"):
        c_files(lowered(graph, tensors, drawn(graph, 2)), "while")
