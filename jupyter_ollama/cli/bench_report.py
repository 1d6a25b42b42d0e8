"""The report of `jupyter ollama bench`: a summary of the figures of all rounds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

from jupyter_ollama_client.readable import size

from .formats import table
from .other_formats import BITS, bits, candidates
from .speed import Served, Speed, Workload

CLEARLY_FASTER = 1.1
"""The gain in every round for which a format counts as faster."""
NOT_SLOWER = 0.95
NOISY = 0.1
"""The spread of rounds, as a part of their median, above which they count as rough."""
ABOVE_THE_LIMIT = 1.05
"""A ratio of runner and bare loop that needs to be explained."""

WIDTH = 96


@dataclass
class WeightFormat:
    """A model's weights in one format, and the speed of the bare loop on them, round by round."""

    name: str
    path: Path
    size: int
    speeds: list[Speed] = field(default_factory=list)


@dataclass
class Measured:
    """The figures of all rounds. ``format`` is the type of the weights, ``size`` is in bytes.

    ``limits`` are speeds of the bare loop by number of streams. The first of ``formats`` is the
    model's own, measured once more with the others.
    """

    model: str
    format: str
    size: int
    workload: Workload
    served: list[Served] = field(default_factory=list)
    limits: list[dict[int, Speed]] = field(default_factory=list)
    formats: list[WeightFormat] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        """Whether a part of the model was on a GPU."""
        return self.served[0].ready.size_vram > 0


def report(measured: Measured) -> dict[str, Any]:
    """Return the figures as JSON values: tokens a second, medians of the rounds."""
    ready = measured.served[0].ready
    counts = list(measured.limits[0])
    return {
        "model": measured.model,
        "format": measured.format,
        "size": measured.size,
        "size_vram": ready.size_vram,
        "context_length": ready.num_ctx,
        "slots": ready.slots,
        "cpus": os.cpu_count(),
        "rounds": len(measured.served),
        "tokens": measured.workload.tokens,
        "prompt_tokens": measured.workload.prompt_tokens,
        "streams": [
            {"streams": n, **{kind: _compared(measured, n, kind) for kind in ("decode", "prefill")}}
            for n in counts
        ],
        "left_out": [n for n in measured.workload.streams if n not in counts],
        "spread": _spread(measured),
        "formats": [_format(each, measured) for each in measured.formats],
    }


def _series(measured: Measured, streams: int, kind: str) -> tuple[list[float], list[float]]:
    """Return the speeds of runner and bare loop, a number for each round."""
    served = [getattr(served.speeds[streams], kind) for served in measured.served]
    return served, [getattr(limit[streams], kind) for limit in measured.limits]


def _compared(measured: Measured, streams: int, kind: str) -> dict[str, float]:
    served, limits = _series(measured, streams, kind)
    ratios = [a / b for a, b in zip(served, limits, strict=True)]
    return {
        "server": round(median(served), 2),
        "limit": round(median(limits), 2),
        "ratio": round(median(ratios), 3),
    }


def _spread(measured: Measured) -> float | None:
    """Return how far the rounds lie apart at most, as a part of their median."""
    if len(measured.served) < 2:
        return None
    series = [
        speeds
        for n in measured.limits[0]
        for kind in ("decode", "prefill")
        for speeds in _series(measured, n, kind)
    ]
    return round(max((max(s) - min(s)) / median(s) for s in series), 3)


def _format(each: WeightFormat, measured: Measured) -> dict[str, Any]:
    """Return the speed of a format and how many times as fast as the model's own it is."""
    streams = min(measured.limits[0])
    found: dict[str, Any] = {"format": each.name, "size": each.size, "streams": streams}
    gains = []
    for kind in ("decode", "prefill"):
        own = [getattr(speed, kind) for speed in measured.formats[0].speeds]
        speeds = [getattr(speed, kind) for speed in each.speeds]
        gains.append([a / b for a, b in zip(speeds, own, strict=True)])
        found[kind] = round(median(speeds), 2)
        found[f"{kind}_gain"] = round(median(gains[-1]), 3)
    faster = any(min(gain) >= CLEARLY_FASTER for gain in gains)
    found["faster"] = faster and all(median(gain) >= NOT_SLOWER for gain in gains)
    return found


def text(facts: dict[str, Any]) -> str:
    """Return the figures as a table with remarks."""
    head = f"{facts['model']}    {facts['format']}    {size(facts['size'])}    "
    place = "GPU" if facts["size_vram"] else f"{facts['cpus']} CPUs"
    parts = [head + place, _speeds(facts), _explanation(facts)]
    if len(facts["formats"]) > 1:
        parts += [_formats(facts), _advice(facts)]
    elif candidates(facts["format"]) and not facts["size_vram"]:
        parts.append(
            "Other formats were not tried. --compare does, at the cost of disk space and time."
        )
    return "\n\n".join(parts)


def _speeds(facts: dict[str, Any]) -> str:
    rows = []
    for line in facts["streams"]:
        cells = [str(line["streams"])]
        for kind in ("decode", "prefill"):
            found = line[kind]
            cells += [_speed(found["server"]), _speed(found["limit"]), f"{found['ratio']:.0%}"]
        rows.append(cells)
    return table(("STREAMS", "DECODE", "LIMIT", "RATIO", "PREFILL", "LIMIT", "RATIO"), rows)


def _speed(value: float) -> str:
    return f"{value:.1f} tok/s" if value < 10 else f"{value:.0f} tok/s"


def _explanation(facts: dict[str, Any]) -> str:
    sentences = [
        "Tokens a second, all streams together, the median of the rounds.",
        f"DECODE: each generates {facts['tokens']}.",
        f"PREFILL: they read about {facts['prompt_tokens']} of new prompts.",
        "LIMIT: the same in the barest loop over llama.cpp, without a server.",
        "RATIO: of the two in the same round.",
    ]
    if facts["left_out"]:
        left_out = ", ".join(map(str, facts["left_out"]))
        sentences.append(f"Left out: {left_out} streams, as the server runs {facts['slots']}.")
    return fill(" ".join([*sentences, *_noise(facts)]), WIDTH)


def _noise(facts: dict[str, Any]) -> list[str]:
    """Return a remark on the noise of the figures."""
    rounds, spread = facts["rounds"], facts["spread"]
    if spread is None:
        sentences = ["One round only: how far such figures vary was not seen."]
    elif spread > NOISY:
        sentences = [
            f"Noisy: the {rounds} rounds lie up to {spread:.0%} apart. Close what else computes "
            "here and measure again, or take these as rough."
        ]
    else:
        sentences = [f"The {rounds} rounds lie {spread:.0%} apart at most."]
    if any(line["prefill"]["ratio"] > ABOVE_THE_LIMIT for line in facts["streams"]):
        sentences.append("PREFILL above its limit: the speed of this machine changed in between.")
    if any(line["decode"]["ratio"] > ABOVE_THE_LIMIT for line in facts["streams"]):
        sentences.append(
            "DECODE above its limit: the runner guesses ahead where a text repeats itself, or the "
            "speed changed."
        )
    return sentences


def _formats(facts: dict[str, Any]) -> str:
    rows = []
    for number, each in enumerate(facts["formats"]):
        cells = [each["format"], size(each["size"])]
        for kind in ("decode", "prefill"):
            cells += [_speed(each[kind]), f"{each[f'{kind}_gain']:.1f} times" if number else ""]
        rows.append(cells)
    return table(("FORMAT", "SIZE", "DECODE", "", "PREFILL", ""), rows)


def _advice(facts: dict[str, Any]) -> str:
    streams = facts["formats"][0]["streams"]
    sentences = [
        "These are the same weights in other formats, in the barest loop with "
        f"{streams} stream{'s' if streams > 1 else ''}."
    ]
    faster = [other for other in facts["formats"] if other["faster"]]
    if not faster:
        sentences.append("None is clearly faster here in one column and as fast in the other.")
        return fill(" ".join(sentences), WIDTH)
    for other in faster:
        gains = " and ".join(_gain(kind, other[f"{kind}_gain"]) for kind in ("prefill", "decode"))
        sentences.append(f"{other['format']} would {gains} on this host, {_price(other, facts)}.")
    sentences.append(
        "They were quantized a second time for this, which loses quality. To use one, make the "
        "model anew from its F16 weights:"
    )
    best = max(faster, key=lambda other: other["prefill_gain"])["format"]
    command = f"    jupyter ollama create NAME -f Modelfile --quantize {best.lower()}"
    return fill(" ".join(sentences), WIDTH) + "\n" + command


def _gain(kind: str, gain: float) -> str:
    return f"{kind} as fast" if f"{gain:.1f}" == "1.0" else f"{kind} {gain:.1f} times as fast"


def _price(other: dict[str, Any], facts: dict[str, Any]) -> str:
    """Return a remark on the costs of a faster format."""
    if BITS[other["format"]] == bits(facts["format"]):
        return f"and is less exact than {facts['format']}"
    return f"and takes {other['size'] / facts['size']:.1f} times the memory"
