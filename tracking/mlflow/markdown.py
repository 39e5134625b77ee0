"""Texts from outside in Markdown: names of classes, data and devices, reasons of failures."""

import re

# What MLflow's pages and GitHub's read as marks. Backslashes stand only before what both take
# them from; other characters are written as entities.
_MARKS = re.compile(
    r"(?P<mark>[\\`*\[\]|~]"  # code, emphasis, links, tables
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word
    r"|(?<=\bwww)\.|^[#+=-]|^\d+[.)])"  # headings and lists at the beginning
    r"|(?P<other>[&<>@$]|:(?=//)|:(?=[\w+-]+:))"  # HTML, mentions, addresses, emoji
)


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is, in one line: no mark, link or HTML in
    it counts. White space becomes single spaces; what cannot be seen, such as characters that
    turn the direction of writing, goes.
    """
    seen = "".join(char for char in text if char.isprintable() or char.isspace())
    return _MARKS.sub(_shielded, " ".join(seen.split()))


def _shielded(found: re.Match[str]) -> str:
    before, last = found[0][:-1], found[0][-1]
    return f"{before}\\{last}" if found["mark"] else f"&#{ord(last)};"
