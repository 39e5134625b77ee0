"""Which channels live and die together, as far as operators say it pair by pair.

Every channel of every value is an *atom*, a number. Operators tie atoms; the atoms that are
tied directly or through others are one connected component.
"""

from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ids = NDArray[np.int64]


@final
class ChannelTies:
    """Atoms and the ties between them, collected operator by operator."""

    def __init__(self) -> None:
        self._count = 0
        self._pairs: list[Ids] = [np.zeros((2, 0), dtype=np.int64)]

    def fresh(self, count: int) -> Ids:
        """The numbers of `count` new atoms, tied to none."""
        start, self._count = self._count, self._count + count
        return np.arange(start, self._count)

    def tie(self, left: Ids, right: Ids) -> None:
        """Tie atoms pair by pair; the shapes are broadcast to each other."""
        left, right = np.broadcast_arrays(left, right)
        self._pairs.append(np.stack([left.ravel(), right.ravel()]))

    def roots(self) -> Ids:
        """For every atom, the first atom of its component."""
        left, right = np.concatenate(self._pairs, axis=1)
        tied = np.ones(len(left), dtype=bool)
        edges = coo_array((tied, (left, right)), shape=(self._count, self._count))
        labels = connected_components(edges, directed=False)[1]
        first = np.unique(labels, return_index=True)[1]
        roots: Ids = first[labels].astype(np.int64)
        return roots
