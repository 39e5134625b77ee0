"""Files that are whole or absent."""

import os
import tempfile
from pathlib import Path

from search.errors import ConfigError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it, so that nobody ever sees half of it.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:  # a full disk, or a folder of that name
        Path(name).unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error}; choose another place") from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
