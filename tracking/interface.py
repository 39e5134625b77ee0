"""What a network reads and what its outputs mean, as a trial stores it."""

from dataclasses import dataclass
from typing import Any

from tracking.decode import decoded, items, natural, text

INTERFACE = "interface.json"  # its name among a trial's files


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """`shape` and `dtype` are those of a raw sample, of which `example` is one as nested lists.
    `meaning` of the outputs: "classes", "numbers" or "inputs" (given back, as an autoencoder
    does); `names` are those of the classes or numbers.
    """

    shape: tuple[int, ...]
    dtype: str
    meaning: str
    names: tuple[str, ...]
    example: list[Any] | None


def interface_from(content: bytes) -> Interface:
    """Read what a trial stored.

    Raises:
        DamagedError: it is not what it should be.
    """
    return decoded(content, _interface, f"{INTERFACE} does not say what the network reads")


def _interface(stored: Any) -> Interface:
    if stored["dtype"] not in ("uint8", "float32"):
        raise ValueError(f"no samples are {stored['dtype']}")
    return Interface(
        shape=tuple(map(natural, items(stored["shape"]))),
        dtype=stored["dtype"],
        meaning=text(stored["meaning"]),
        names=tuple(map(text, items(stored["names"]))),
        example=None if stored["example"] is None else items(stored["example"]),
    )
