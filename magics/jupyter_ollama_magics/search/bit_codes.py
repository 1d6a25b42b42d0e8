"""Estimates of inner products by one bit for each dimension (RaBitQ, Gao and Long 2024).

A vector, less the mean, is rotated at random; its code is the signs of the result. The inner
product of a code with a query of four bits is a sum of bit counts, which NumPy computes from a
thirty-second of the memory that the vectors take. The error of an estimate has a known deviation.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Words = NDArray[np.uint64]

PLANES = 4
"""The bits of each number of a query."""
BLOCK = 16_384
"""The rows of a step: its arrays stay in the cache of a core."""
THREADS = 2
SUM_WORDS = 3
"""Words of 64 bits whose counts fit one byte together."""
TINY = np.finfo(np.float32).tiny


class BitCodes:
    """The codes of vectors (rows, dimensions) of float32.

    Parameters
    ----------
    vectors : ndarray
        The vectors.
    seed : int
        The seed of the rotation.
    """

    def __init__(self, vectors: Floats, seed: int = 0) -> None:
        rows, self._size = vectors.shape
        self._width = -(-self._size // 64) * 64
        rng = np.random.default_rng(seed)
        square = rng.standard_normal((self._width, self._width), np.float32)
        # Rows of zeros are left out: the vectors are padded to whole words of bits.
        self._rotation = np.linalg.qr(square)[0][: self._size]
        self._mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        # A row of words for each 64 dimensions, so that each step reads adjacent memory.
        self._codes: Words = np.empty((self._width // 64, rows), np.uint64)
        self._ones = np.empty(rows, np.float32)
        self._scale = np.empty(rows, np.float32)
        self._offset = np.empty(rows, np.float32)
        self._error = np.empty(rows, np.float32)
        for start in range(0, rows, BLOCK):
            self._encode(vectors[start : start + BLOCK], slice(start, start + BLOCK))

    def _encode(self, vectors: Floats, at: slice) -> None:
        centered = vectors - self._mean
        lengths = np.linalg.norm(centered, axis=1)
        rotated = centered @ self._rotation
        bits = np.packbits(rotated > 0, axis=1, bitorder="little").view(np.uint64)
        self._codes[:, at] = bits.T
        self._ones[at] = np.bitwise_count(bits).sum(axis=1)
        # The cosine of the angle between a vector and its code, about 0.8.
        side = np.abs(rotated).sum(axis=1) / np.maximum(lengths, TINY) / np.sqrt(self._width)
        side = np.maximum(side, TINY)
        self._scale[at] = lengths / side / np.sqrt(self._width)
        self._offset[at] = vectors @ self._mean
        spread = np.sqrt(np.maximum(1 / side**2 - 1, 0) / (self._width - 1))
        self._error[at] = np.where(lengths > 0, lengths * spread, 0)

    def bounds(self, query: Floats, deviations: float) -> Floats:
        """Return upper bounds of the inner products with a query, of shape (rows,).

        A bound is the estimate and ``deviations`` standard deviations of its error.
        """
        direct = query - self._mean
        rotated = direct @ self._rotation
        low, high = float(rotated.min()), float(rotated.max())
        step = max((high - low) / (2**PLANES - 1), float(TINY))
        levels = np.rint((rotated - low) / step).astype(np.uint8)
        planes = [
            np.packbits(levels >> plane & 1, bitorder="little").view(np.uint64)
            for plane in range(PLANES)
        ]
        # With b of -1 and 1: sum(b q) = 2 step sum(bit level) + 2 low ones - sum(q).
        total = step * float(levels.sum(dtype=np.int64)) + low * self._width
        margin = float(np.linalg.norm(direct)) * deviations
        apart = float(query @ self._mean - self._mean @ self._mean)
        rows = self._codes.shape[1]
        bounds = np.empty(rows, np.float32)
        starts = range(0, rows, BLOCK)

        def scan(starts: range) -> None:
            counter = _Counter(self._codes, planes)
            for start in starts:
                at = slice(start, min(start + BLOCK, rows))
                estimate = counter.counts(at).astype(np.float32)
                estimate *= 2 * step
                estimate += np.float32(2 * low) * self._ones[at]
                estimate -= np.float32(total)
                estimate *= self._scale[at]
                estimate += self._offset[at]
                estimate += np.float32(margin) * self._error[at]
                np.add(estimate, np.float32(apart), out=bounds[at])

        if len(starts) < THREADS:
            scan(starts)
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(scan, [starts[part::THREADS] for part in range(THREADS)]))
        return bounds


class _Counter:
    """Sums of levels of a query over the set bits of codes, with buffers of its own."""

    def __init__(self, codes: Words, planes: list[Words]) -> None:
        self._codes = codes
        self._planes = planes
        self._both = np.empty(BLOCK, np.uint64)
        self._count = np.empty(BLOCK, np.uint8)
        self._few = np.empty(BLOCK, np.uint8)

    def counts(self, at: slice) -> NDArray[np.uint32]:
        """Return the sums for some rows."""
        size = at.stop - at.start
        both, count, few = self._both[:size], self._count[:size], self._few[:size]
        sums = np.zeros(size, np.uint32)
        words = len(self._codes)
        for plane, bits in enumerate(self._planes):
            for first in range(0, words, SUM_WORDS):
                few[:] = 0
                for word in range(first, min(first + SUM_WORDS, words)):
                    np.bitwise_and(self._codes[word, at], bits[word], out=both)
                    np.bitwise_count(both, out=count)
                    np.add(few, count, out=few)
                sums += few.astype(np.uint32) << np.uint32(plane)
        return sums
