"""The vectors nearest to a query, in memory: exact for most indexes, by codes for large ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bit_codes import BitCodes, Floats

CODES_FROM = 1 << 26
"""Numbers above which codes are made: 175,000 vectors of 384 dimensions, which take 270 MB."""
DEVIATIONS = 2.5
"""The deviations of an estimate that its margin covers: 0.6 % of the rows that are just among the
best lie outside, and fewer of the better ones."""
FIRST = 256
"""This part of the rows, those of the best estimates, gives the threshold by exact values."""
LEAST = 8
"""Times k: the least of these rows."""
MOST = 8
"""At most this part of the rows is computed exactly after the estimates; more are all computed."""
TAKEN = 1024
"""Rows that are copied at a time; copies of all would cost more in new memory than in products."""

Places = NDArray[np.intp]


class Vectors:
    """Unit vectors (rows, dimensions) of float32.

    Parameters
    ----------
    vectors : ndarray
        The vectors, each of length one.
    codes_from : int
        The numbers of the array from which codes are made at the first query.
    """

    def __init__(self, vectors: Floats, codes_from: int = CODES_FROM) -> None:
        self.array = np.ascontiguousarray(vectors, np.float32)
        self._codes_from = codes_from
        self._codes: BitCodes | None = None

    def nearest(
        self, query: Floats, k: int, allowed: NDArray[np.bool_] | None = None, exact: bool = False
    ) -> tuple[Places, Floats]:
        """Return the places of the ``k`` largest inner products, best first, and their values.

        Values are exact. Where codes choose the rows, and ``exact`` is False, a row of the best
        may be missed, in fewer than 1 % of the places.

        Parameters
        ----------
        query : ndarray
            A unit vector.
        k : int
            The number of rows; fewer are returned where there are fewer.
        allowed : ndarray of bool, optional
            The rows to search, by default all.
        exact : bool
            Compare the query with all vectors.
        """
        places = None if allowed is None else np.flatnonzero(allowed)
        count = len(self.array) if places is None else len(places)
        k = min(k, count)
        if not k:
            return np.empty(0, np.intp), np.empty(0, np.float32)
        if count * self.array.shape[1] >= self._codes_from and not exact:
            chosen = self._candidates(query, k, allowed)
            places = places if chosen is None else chosen
        values = self.array @ query if places is None else self._products(places, query)
        order = _largest(values, k)
        return (order if places is None else places[order]), values[order]

    def _candidates(
        self, query: Floats, k: int, allowed: NDArray[np.bool_] | None
    ) -> Places | None:
        """Return the rows that may be among the best, None where these are too many."""
        if self._codes is None:
            self._codes = BitCodes(self.array)
        bounds = self._codes.bounds(query, DEVIATIONS)
        if allowed is not None:
            bounds[~allowed] = -np.inf
        count = min(max(LEAST * k, len(bounds) // FIRST), len(bounds))
        first = np.argpartition(bounds, -count)[-count:]
        values = self._products(first, query)
        threshold = np.partition(values, -k)[-k]
        near = bounds >= threshold
        near[first[values >= threshold]] = True  # rounding may put a bound below its value
        chosen = np.flatnonzero(near)
        return None if len(chosen) > len(bounds) // MOST else chosen

    def _products(self, places: Places, query: Floats) -> Floats:
        """Return the inner products of some rows, copied a few at a time into the cache."""
        values = np.empty(len(places), np.float32)
        some = np.empty((TAKEN, self.array.shape[1]), np.float32)
        for start in range(0, len(places), TAKEN):
            part = places[start : start + TAKEN]
            rows = some[: len(part)]
            np.take(self.array, part, axis=0, out=rows, mode="clip")
            np.dot(rows, query, out=values[start : start + TAKEN])
        return values


def _largest(values: Floats, k: int) -> Places:
    """Return the places of the ``k`` largest values, the largest first, equal ones in order."""
    if k < len(values):
        threshold = np.partition(values, -k)[-k]
        places = np.flatnonzero(values >= threshold)
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")][:k]
