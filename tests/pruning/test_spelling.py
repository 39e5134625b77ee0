"""What was meant by a name that nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.spelling import meant, nearest

words = st.text("abcde_", min_size=1, max_size=8)


@given(word=words, names=st.lists(words, max_size=9))
def test_nearest_orders_all_names_and_begins_with_the_word_itself(word, names):
    assert sorted(nearest(word, names)) == sorted(set(names))
    assert nearest(word, [*names, word])[0] == word


@pytest.mark.parametrize(
    ("word", "names", "right"),
    [
        ("worker", ["workers", "weights", "study"], "workers"),
        ("X_Train", ["x_train", "y_train"], "x_train"),
        ("foo", ["workers", "study"], None),
        ("foo", [], None),
    ],
)
def test_a_misspelt_name(word, names, right):
    assert meant(word, names) == right
