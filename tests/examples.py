"""The examples of docs/extending.md, for the tests that run them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()


def example(section: str, language: str = "python", number: int = 0) -> str:
    """A block of code in a section of the page."""
    text = PAGE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number]
