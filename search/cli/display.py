"""Where tables are printed."""

from rich.console import Console


def wide_console() -> Console:
    """Standard output; as wide as tables need when it is not a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=160)
