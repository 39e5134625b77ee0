"""Pages as PDF, printed by the Chromium that the system has."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tracking.errors import PrintingError

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT_S = 120


def browser() -> str:
    """Return the path of Chromium.

    Raises:
        PrintingError: there is none.
    """
    for name in _PROGRAMS:
        if (program := shutil.which(name)) is not None:
            return program
    raise PrintingError(
        f"format=pdf: none of {', '.join(_PROGRAMS)} is installed, which print the page; install "
        "one (on Debian: make system-deps), or write format=html and print it in any browser"
    )


def printed(page: str, program: str) -> bytes:
    """Return a page as PDF, of the size that its style asks for.

    Args:
        page: HTML that needs nothing from elsewhere.
        program: as `browser` gives it.

    Raises:
        PrintingError: the program ended without a PDF.
    """
    with TemporaryDirectory(prefix="paring-") as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_text(page, encoding="utf-8")
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none
        words = [
            program, "--headless", *sandbox, "--disable-gpu", "--no-pdf-header-footer",
            "--disable-background-networking", f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={target}", source.as_uri(),
        ]  # fmt: skip
        try:
            ended = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PrintingError(_failure(program, str(error))) from error
        if ended.returncode or not target.is_file():
            lines = ended.stderr.strip().splitlines() or ["it said nothing"]
            raise PrintingError(_failure(program, lines[-1]))
        return target.read_bytes()


def _failure(program: str, why: str) -> str:
    return (
        f"format=pdf: {program} did not print the page: {why}; write format=html and print it in "
        "a browser"
    )
