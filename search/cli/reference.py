"""The page of all settings, `docs/settings.md`: what `--help` of every verb says, and the groups.

python -m search.cli.reference > docs/settings.md
"""

import textwrap
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from omegaconf import OmegaConf

from search.cli.main import VERBS

_INTRODUCTION = """\
# All settings

Made by `make docs` from the files in `conf/` and `pruning/catalogue/`; a test compares. Every
setting is `KEY=VALUE`, every choice `GROUP=NAME`; keys of a group are written `GROUP.KEY=VALUE`."""
_SETTINGS_BELOW = "Settings, as they stand"
_HIDDEN = ("hydra", "__pycache__")


def reference() -> str:
    """The page as Markdown."""
    return "\n\n".join([_INTRODUCTION, *_verbs(), "## Groups", *_groups()]) + "\n"


def _verbs() -> Iterator[str]:
    for verb, purpose in VERBS.items():
        text = (files("search.conf") / f"{verb}.yaml").read_text("utf-8")
        template = OmegaConf.create(text).hydra.help.template
        usage = template.split(_SETTINGS_BELOW)[0].strip()
        yield f"## {verb}\n\n{purpose[0].upper()}{purpose[1:]}."
        yield f"```text\n{usage}\n```"
        if settings := _without(text, "defaults", "hydra"):
            yield f"```yaml\n{settings}\n```"


def _groups() -> Iterator[str]:
    for folder in sorted(_folders(), key=lambda entry: entry.name):
        yield f"### {folder.name}"
        choices = sorted(folder.iterdir(), key=lambda entry: entry.name)
        for choice in choices:
            if choice.name.endswith(".yaml"):
                text = textwrap.dedent(choice.read_text("utf-8")).strip()
                yield f"`{folder.name}={choice.name.removesuffix('.yaml')}`"
                yield f"```yaml\n{text}\n```"


def _folders() -> Iterator[Traversable]:
    """One for each group: those of the configs, and the engine's catalogue."""
    for package in ("search.conf", "pruning.catalogue"):
        entries = (entry for entry in files(package).iterdir() if entry.is_dir())
        yield from (entry for entry in entries if entry.name not in _HIDDEN)


def _without(text: str, *blocks: str) -> str:
    """YAML text without some of its top-level blocks."""
    kept, skipping = [], False
    for line in text.splitlines():
        if line and not line.startswith((" ", "-", "#")):
            skipping = line.partition(":")[0] in blocks
        if not skipping:
            kept.append(line)
    return "\n".join(kept).strip()


if __name__ == "__main__":
    print(reference(), end="")
