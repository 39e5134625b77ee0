"""Markdown that shows texts of users as they are: names of classes, data and devices, errors."""

import re

# Characters that MLflow's pages or GitHub's read as Markdown. Those that a backslash escapes for
# both get one; others are written as HTML entities.
_MARKS = re.compile(
    r"(?P<mark>[\\`*\[\]|~]"  # code, emphasis, links, tables
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word
    r"|(?<=\bwww)\.|^[#+=-]|^\d+[.)])"  # headings and lists at the beginning
    r"|(?P<other>[&<>@$]|:(?=//)|:(?=[\w+-]+:))"  # HTML, mentions, addresses, emoji
)


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is, in one line: Markdown, links and HTML
    in it are escaped. White space becomes single spaces; characters that are not printable, such
    as those that change the direction of writing, are removed.
    """
    printable = "".join(char for char in text if char.isprintable() or char.isspace())
    return _MARKS.sub(_escaped, " ".join(printable.split()))


def _escaped(match: re.Match[str]) -> str:
    before, last = match[0][:-1], match[0][-1]
    return f"{before}\\{last}" if match["mark"] else f"&#{ord(last)};"
