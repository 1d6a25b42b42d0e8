"""The order in which a prompt is prefilled, so that cached tokens do not change its logits.

On a CPU, llama.cpp rounds a token's sums depending on the batch that contains it:

- attention works in tiles if a batch has at least 64 tokens, and else row by row; within tiles the
  result depends on where 64 cells begin, but not on how many tokens a batch has;
- other kernels multiply the weights if a batch is small: F16, Q8_0 and the like if it has a single
  token, K-quants and IQ types if it has less than 8. Repacked weights are multiplied by groups of 4
  tokens, and the remainder of a batch by another kernel;
- other kernels multiply experts with K-quants or IQ types if at least 8 tokens of a batch are
  routed to them, so that a token depends on all tokens of its batch;
- attention of a single token is split among the threads where the KV cache has 512 cells and more.

So a prompt that runs alone is prefilled in whole tiles from its first token on, and the remainder,
which always has the last token, in batches of at most 60 tokens. Filler tokens of another sequence
bring these up to at least 8 and to a multiple of 4. The logits of a token then depend only on which
of the two kinds of attention it had: prompts with a common beginning agree in the tiles that both
have, and in the whole common prefix if they have the same number of tiles.
For heads of some sizes a row takes up to twenty times as long as its part of a tile. Then fillers
complete every batch to a tile from token ``filled_from`` on (NEVER for other models), and prompts
agree in the whole common prefix. Recurrent models take no fillers.
A prompt, or a turn of a conversation, of fewer than 8 tokens is decoded as it is, since fillers
would double the time to its first token. No other prompt shares a part of it.
Where a token depends on all of its batch (``by_tile``), batches are single tiles, nothing is
filled, and prompts agree only in the tiles they share.
Generated tokens are decoded one by one. The next turn of a conversation follows them, and its
prefill begins there.

Tokens that were computed beside other sequences are excluded: see ``computed_alone``.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

TILE = 64
"""The smallest batch for which attention works in tiles, and the cells of a tile."""

GROUP = 4
"""Tokens that the kernels for repacked weights multiply at once."""

LEAST = 8
"""The smallest batch for which all types of weights use the kernels for many tokens."""

NEVER = sys.maxsize
"""The ``filled_from`` of models whose batches are not completed to tiles."""

GOES_ON = 32
"""Generated tokens in a prompt that make it the continuation of a conversation, if the prompt lacks
the last of them. A few may match by chance, and are then prefilled like the rest of the prompt."""


class Reading(NamedTuple):
    """Tokens from ``start`` to ``end`` that were prefilled; those after them were generated."""

    start: int
    end: int

    @property
    def is_short(self) -> bool:
        """True if its batch has kernels of its own, and no fillers."""
        return self.end - self.start < LEAST


def end_of_tiles(end: int, *, filled_from: int = NEVER) -> int:
    """Return the end of the tokens that are read in tiles, of a prompt that ends at ``end``."""
    tiles = (end - 1) // TILE * TILE
    return end if tiles >= filled_from else tiles


def next_count(
    done: int, end: int, most: int, *, by_tile: bool = False, filled_from: int = NEVER
) -> int:
    """Return how many tokens to read next, about ``most``, of a prompt read up to ``done``."""
    if done >= filled_from:
        return min(end - done, max(most, TILE))
    most = TILE if by_tile else most
    tiles = end_of_tiles(end, filled_from=filled_from)
    if done % TILE == 0 and done < tiles:
        return min(tiles - done, max(most // TILE, 1) * TILE)
    # Rows are the same in any batch, so those before and behind the end of a tile share one.
    is_in_rows = done >= tiles or (not by_tile and _next_tile(done) >= tiles)
    return min((end if is_in_rows else _next_tile(done)) - done, TILE - GROUP)


def missing(count: int, done: int, *, filled_from: int = NEVER) -> int:
    """Return how many filler tokens a batch of ``count`` tokens needs, after ``done`` others."""
    least = TILE if done >= filled_from else LEAST
    return max(least, -(-count // GROUP) * GROUP) - count


def _next_tile(position: int) -> int:
    return -(-position // TILE) * TILE


def computed_alone(readings: list[Reading], cached: int, alone: int) -> int:
    """Return how many of ``cached`` tokens a prompt may use if the first ``alone`` ran alone.

    An answer that ran alone only in part is excluded, since the next turn of its conversation would
    begin at an index that depends on the other requests.
    """
    if alone >= cached:
        return cached
    starts = [reading.start for reading in readings if reading.start <= alone]
    known = readings[len(starts) - 1]
    return alone if alone <= known.end else known.end


def reusable(
    readings: list[Reading],
    cached: int,
    common: int,
    end: int,
    *,
    by_tile: bool = False,
    filled_from: int = NEVER,
) -> tuple[int, list[Reading]]:
    """Return how much of a common prefix a prompt would have read in the same batches.

    Another sequence has computed ``cached`` tokens by its ``readings``; the first ``common`` equal
    the prompt's, which has ``end`` tokens. Returns the number of tokens and the readings of
    the prompt.
    """
    known = max(number for number, reading in enumerate(readings) if reading.start <= common)
    start, stop = readings[known]
    before = readings[:known]
    if common > stop and (common == cached or common >= stop + GOES_ON):
        return common, [*readings[: known + 1], Reading(common, end)]
    if readings[known].is_short or end - start < LEAST:
        return start, [*before, Reading(start, end)]
    length = min(common, stop)
    if length > filled_from:
        return length, [*before, Reading(start, end)]
    first = _next_tile(start)
    tiles = [max(end_of_tiles(one, filled_from=filled_from), start) for one in (stop, end)]
    is_split = length > first or (tiles[0] >= first) != (tiles[1] >= first)
    if by_tile:
        length = min(length // TILE * TILE, *tiles)
        length = length if length >= first else start
    elif is_split and (length < min(tiles) or tiles[0] != tiles[1]):
        # From within a tile, its remainder would be read row by row.
        whole = min(length // TILE * TILE, *tiles)
        length = whole if whole >= first else min(length, first)
    return length, [*before, Reading(start, end)]
