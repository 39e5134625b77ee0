"""Seeds derived from a run's own seed: the only place.

Stored runs are resumed, and compared when they are run again, so no derivation here may ever
change: the draws of those runs would change with it.
"""

from enum import IntEnum
from hashlib import sha256

SEEDS = 2**63  # that a torch generator takes


class Draw(IntEnum):
    """What is drawn beside the training itself: the factor on the run's seed."""

    SAMPLES = 1009
    CANDIDATE_BATCHES = 1013


def hashed_seed(seed: int, number: int, bits: int = 63) -> int:
    """The first bits of the SHA-256 of a seed and a number: an epoch's, or a trial's."""
    digest = sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest, "big") >> (8 * len(digest) - bits)


def multiplied_seed(seed: int, draw: Draw, number: int) -> int:
    """The seed of one of several draws of a kind, by its number.

    Simpler than `hashed_seed`, and so from the beginning: see above for why it stays.
    """
    return (seed * draw + number) % SEEDS
