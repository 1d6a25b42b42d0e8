"""Figures of all rounds, and the table made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from workloads import FIRST_TOKEN, generating

OURS = "jupyter_ollama"
LIMIT = "bare loop"
ONE_TEXT = "batch of one"
"""The bare loop with a text in each batch: what Ollama computes to embed, without its server."""
MORE_IS_BETTER = ("/s", "% of free", "times")
RIVALS = ("llama-server", "llama-cpp-python", LIMIT, ONE_TEXT)


class Samples:
    """Values by figure, contender and round."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, dict[int, float]]] = {}
        self.notes: list[str] = []

    def add(self, who: str, turn: int, figures: Mapping[str, float]) -> None:
        """Record a contender's figures of a round."""
        for figure, value in figures.items():
            self._values.setdefault(figure, {}).setdefault(who, {})[turn] = value

    def note(self, text: str) -> None:
        """Keep a remark for below the table."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def figures(self) -> dict[str, dict[str, list[float]]]:
        """Figures, contenders, and the values of their rounds."""
        return {
            figure: {who: list(turns.values()) for who, turns in by_name.items()}
            for figure, by_name in self._values.items()
        }

    def derive(self) -> None:
        """Add the figures derived from two figures of a round."""
        for who, values in list(self._values.get(generating(16), {}).items()):
            one = self._values.get(generating(1), {}).get(who, {})
            for turn in values.keys() & one.keys():
                self.add(who, turn, {"16 streams against 1, times": values[turn] / one[turn]})
        waits = self._values.get(FIRST_TOKEN, {})
        step = waits.get(LIMIT, {})
        for who, values in waits.items():
            for turn in (values.keys() & step.keys()) if who != LIMIT else ():
                self.add(
                    who, turn, {f"{FIRST_TOKEN} above the bare loop": values[turn] - step[turn]}
                )

    def ratios(self, figure: str, rival: str) -> list[float]:
        """Return how many times better than a rival ours was, round by round."""
        by_name = self._values.get(figure, {})
        pairs = [
            (value, by_name[rival][turn])
            for turn, value in by_name.get(OURS, {}).items()
            if turn in by_name.get(rival, {})
        ]
        if not figure.endswith(MORE_IS_BETTER):
            pairs = [(theirs, ours) for ours, theirs in pairs]
        return [over / under for over, under in pairs if under]

    def table(self, contenders: Sequence[str], further: Sequence[str] = ()) -> Iterator[str]:
        """Yield the lines of the table in Markdown. ``further`` names more rivals."""
        rivals = [name for name in (*RIVALS, *further) if name in contenders]
        heads = ["figure", *contenders, *(f"against {name}" for name in rivals)]
        yield f"| {' | '.join(heads)} |"
        yield "|---|" + "---:|" * (len(heads) - 1)
        for figure, by_name in self._values.items():
            cells = [spread(list(by_name.get(name, {}).values())) for name in contenders]
            # Counts describe the work, not its quality.
            counts = figure.endswith(", tokens")
            for rival in rivals:
                cells.append("" if counts else spread(self.ratios(figure, rival)))
            yield f"| {figure} | {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Return the median, with the least and the most in brackets."""
    if not values:
        return ""
    if len(values) == 1:
        return digits(values[0])
    return f"{digits(median(values))} ({digits(min(values))} to {digits(max(values))})"


def digits(value: float) -> str:
    """Return a number with its significant digits."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
