"""Files that are whole or absent: each is written aside, then renamed.

Here because `search` may use it from here, and `pruning` nothing of `search`.
"""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when the block ends; its folder is made.

    Until then readers see what was there before, and so they do if the block raises or the
    process is killed. Only a kill leaves the file that was being written, in the same folder:
    see `unfinished`. The content is on the disk before it has the name. The permissions are those
    of any new file: the umask applies.

    Raises:
        OSError: the folder or the file cannot be written; no part of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}-{uuid4().hex[:8]}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def unfinished(path: Path) -> Iterator[Path]:
    """The files that are being written to take the place of `path`, or that a kill has left."""
    yield from path.parent.glob(f".part-{glob.escape(path.name)}-*")
