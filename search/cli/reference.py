"""The pages that are generated from conf/: `docs/cli.md` and `docs/settings.md`.

python -m search.cli.reference docs
"""

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from search.cli.main import VERBS

_COMMANDS = """\
# Commands

This page is generated from the help texts by `make docs`; `paring VERB --help` prints the same.

`paring VERB [KEY=VALUE ...]` runs a verb. Every verb is a [Hydra](https://hydra.cc) app:
`KEY=VALUE` changes a setting, `GROUP=NAME` chooses one of a [config group](settings.md),
`--config-dir DIR` adds a folder with your own choices, and `--cfg job` shows the composed config
without running the verb. Quote values with brackets or spaces for the shell, as in
`'shares=[0.5,0.2]'`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error of paring or of the machine, or a check that found a difference |
| 2 | a user error; the message names the setting, its value, what is allowed and how to fix it |
| 130 | interrupted |

With `debug=true` an error is shown with its traceback."""
_SETTINGS = """\
# Config groups

This page is generated from the files in `conf/` and `pruning/catalogue/` by `make docs`.

`GROUP=NAME` chooses one file of a group, `GROUP.KEY=VALUE` changes a setting in it. The settings
that belong to no group are on the page of the [commands](cli.md). A choice of your own is a YAML
file in `DIR/GROUP/`, found with `--config-dir DIR`."""
GROUPS = {
    "model": "the network; `_target_` may name any `torch.nn.Module` of yours",
    "data": "the training, validation and test splits",
    "task": "loss, metric, optimizer, augmentation and batch size; each may be your own `_target_`",
    "device": "the microcontroller: memory, what is reserved of it, core and clock",
    "budget": "the budgets, one for each trial in turn, the loosest first",
    "method": "how the channels are distributed over the network, and the epochs of each phase",
    "space": "what the sampler chooses, by its path in the config: see [search spaces](spaces.md)",
    "sampler": "Optuna's sampler",
    "quantize": "whether the last fine-tuning epochs are aware of int8",
    "stopping": "whether trials that others dominate end early",
    "storage": "where studies are stored",
    "accelerator": "where torch computes, and in which precision",
    "experiment": "settings of a whole sweep, in one file",
}


def commands() -> str:
    """The page of all verbs as Markdown."""
    return _page(_COMMANDS, *_verbs())


def groups() -> str:
    """The page of all config groups as Markdown."""
    return _page(_SETTINGS, _table_of_groups(), *_groups())


PAGES = {"cli.md": commands, "settings.md": groups}


def _page(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"


def _verbs() -> Iterator[str]:
    rows = [f"| [`{verb}`](#{verb}) | {purpose} |" for verb, purpose in VERBS.items()]
    yield "\n".join(["| verb | purpose |", "|---|---|", *rows])
    for verb in VERBS:
        text = (files("search.conf") / f"{verb}.yaml").read_text("utf-8")
        config = OmegaConf.create(text)
        yield f"## {verb}"
        yield from _markdown(config.hydra.help.header)
        if settings := _without(text, "defaults", "hydra"):
            yield f"Settings:\n\n```yaml\n{settings}\n```"
        if chosen := _chosen(config.defaults):
            links = ", ".join(f"[`{name}`](settings.md#{name})" for name in chosen)
            yield f"Config groups: {links}."


def _markdown(text: str) -> Iterator[str]:
    """A help text's paragraphs as they are, its indented commands as a block of shell."""
    for indented, lines in groupby(text.splitlines(), lambda line: line.startswith("  ")):
        block = textwrap.dedent("\n".join(lines)).strip("\n")
        if block:
            yield f"```sh\n{block}\n```" if indented else block


def _chosen(defaults: Sequence[Any]) -> list[str]:
    """The config groups of a defaults list."""
    return [name for entry in defaults if not isinstance(entry, str) for name in entry]


def _table_of_groups() -> str:
    rows = [_row_of(name, about) for name, about in GROUPS.items()]
    return "\n".join(["| group | choices | sets |", "|---|---|---|", *rows])


def _row_of(group: str, about: str) -> str:
    choices = " ".join(f"`{choice}`" for choice in _choices(group))
    return f"| [`{group}`](#{group}) | {choices} | {about} |"


def _groups() -> Iterator[str]:
    for name in GROUPS:
        yield f"## {name}"
        for choice, text in _choices(name).items():
            yield f"`{name}={choice}`\n\n```yaml\n{text}\n```"


def _choices(group: str) -> dict[str, str]:
    """The files of a group by the name of the choice."""
    folders = [files(package) / group for package in ("search.conf", "pruning.catalogue")]
    (folder,) = [folder for folder in folders if folder.is_dir()]
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(".yaml"): entry.read_text("utf-8").strip()
        for entry in entries
        if entry.name.endswith(".yaml")
    }


def _without(text: str, *blocks: str) -> str:
    """YAML text without some of its top-level blocks."""
    lines, skipped = [], False
    for line in text.splitlines():
        if line and not line.startswith((" ", "-", "#")):
            skipped = line.partition(":")[0] in blocks
        if not skipped:
            lines.append(line)
    return "\n".join(lines).strip()


def main() -> None:
    """Write both pages into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the pages are written")
    folder = parser.parse_args().folder
    for name, page in PAGES.items():
        (folder / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
