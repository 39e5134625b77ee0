"""Texts from outside stay texts in Markdown, whatever they are."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.tracking.outline import EVIL
from tracking.mlflow.markdown import plain

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
MARKDOWN.validateLink = bool  # type: ignore[method-assign]  # others let any address pass
FRAMES = {
    "{}": [],
    "{}: 0.9": [],
    "- data: {}": ["list_item_open"],
    "# {}, trial 1": ["heading_open"],
}
HOSTILE = [
    EVIL,
    "cat\n# A heading",
    "cat\r\n\r\n- an item",
    "[x](javascript:alert(1))",
    "![x](http://127.0.0.1/x.png)",
    "<http://127.0.0.1/>",
    "*a* _b_ __c__ ~~d~~ `e`",
    "\\[x](y)",
    "&lt;b&gt; &#42;",
    "a|b\n-|-",
    "1. one",
    "12345) one",
    "+ one",
    "--- ",
    "    code",
    "[x]: http://127.0.0.1/",
]


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def shown(text: str) -> tuple[list[str], str]:
    """What Markdown makes of a text: its elements but paragraphs, and the words in them."""
    tokens = list(flat(MARKDOWN.parse(text)))
    plain_kinds = {"inline", "text", "paragraph_open", "bullet_list_open"}
    elements = [
        t.type for t in tokens if t.type not in plain_kinds and not t.type.endswith("_close")
    ]
    return elements, "".join(t.content for t in tokens if t.type == "text")


@pytest.mark.slow
@pytest.mark.parametrize("frame", FRAMES)
@given(st.text(st.characters(codec="utf-8"), min_size=1) | st.sampled_from(HOSTILE))
@example("[x](javascript:alert(1))")
@example("a\n# b")
def test_a_text_is_shown_as_it_is(frame: str, text: str) -> None:
    visible = "".join(c for c in text if c.isprintable() or c.isspace())
    seen = " ".join(visible.split())
    elements, words = shown(frame.format(plain(text)))
    assert elements == FRAMES[frame]
    if seen:
        assert words == frame.removeprefix("- ").removeprefix("# ").format(seen).strip()


@given(st.text(st.characters(codec="utf-8")) | st.sampled_from(HOSTILE))
def test_a_text_stays_in_its_cell_of_a_table(text: str) -> None:
    elements, words = shown(f"| x | y |\n|---|---|\n| {plain(text)} | end |")
    assert elements.count("td_open") == 2
    assert words.endswith("end")
    assert not {"html_inline", "link_open", "image", "em_open", "code_inline"} & {*elements}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_would_be_more_than_text_without_it(text: str) -> None:
    """The texts above are worth the test: each is something else where it is not escaped."""
    assert shown(text) != ([], text)


def test_ordinary_names_are_left_alone() -> None:
    for name in ("stm32f446", "my_data-2.1", "accuracy (top 5)", "trial 3: it failed, loss 1.5"):
        assert plain(name) == name
