"""The logs of a sweep's local processes: where they are, and the warnings in them."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import final

from search.config.places import local_folder
from search.config.schema import StorageConfig

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_TROUBLE = re.compile(r"^\S+ \S+ (?:WARNING|ERROR) \S+ (.*)$")


def log_folder(storage: StorageConfig, name: str) -> Path:
    """Where the workers and the mirror of a study write their logs."""
    folder = local_folder(storage.folder) / "logs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_to(file: Path) -> None:
    """Send all output of this process to a file."""
    stream = file.open("a", buffering=1)
    os.dup2(stream.fileno(), sys.stderr.fileno())
    os.dup2(stream.fileno(), sys.stdout.fileno())
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=_FORMAT)


@final
class Troubles:
    """Warnings and errors that are written to log files from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = {path: path.stat().st_size for path in self._files()}
        self._kinds: set[str] = set()  # of lines that were given, with numbers left out

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.log"))

    def news(self) -> Iterator[str]:
        """The lines since the last call, each with its file's name; of lines that differ in
        numbers only, the first.
        """
        for path in self._files():
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                lines = file.read().split(b"\n")
            self._read[path] = self._read.get(path, 0) + sum(len(line) + 1 for line in lines[:-1])
            for line in lines[:-1]:  # the last one is not yet complete
                match = _TROUBLE.match(line.decode(errors="replace"))
                if match is None or (kind := re.sub(r"\d+", "#", match[1])) in self._kinds:
                    continue
                self._kinds.add(kind)
                yield f"{path.stem}: {match[1]}"
