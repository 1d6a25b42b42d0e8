"""The methods ``join`` and ``sim_join`` of the accessors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from ..rows.plan import Plan
from . import join, joined_rows, pair_candidates
from .call import TableCall, column_of, positive
from .join_questions import Question, Statements
from .pair_candidates import Letters, Vectors, trigram_weights
from .steps import Steps, in_steps, with_twins

How = Literal["inner", "left", "right", "outer"]
Pair = tuple[Any, Any]


@with_twins
class Joins(TableCall):
    """``join`` and ``sim_join`` of a Series or a DataFrame."""

    @in_steps
    def join(
        self,
        other: pd.Series | pd.DataFrame,
        prompt: str,
        model: str | None = None,
        *,
        how: How = "inner",
        k: int = 3,
        threshold: float = 0.5,
        known: Mapping[Pair, bool] | None = None,
        recall_sample: int = 0,
        embed_model: str | None = None,
        suffixes: tuple[str, str] = ("_left", "_right"),
        seed: int = 0,
        errors: Literal["raise", "coerce"] = "raise",
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return the pairs of rows for which a model takes a statement for true.

        Not all pairs are asked about, only candidates: of each row of either table, the ``k``
        nearest rows of the other one by embeddings, and the ``k`` nearest by their letters, which
        finds names with errors. Both searches are exact.

        Parameters
        ----------
        other : Series or DataFrame
            The right table.
        prompt : str
            The statement, with columns of both sides: ``"{left.text} and {right.name} are the same
            company"``. A Series is ``{left}`` or ``{right}``.
        model : str, optional
            The model that decides; by default the one of ``%ollama use``, else the only one on the
            server. Its probability of yes comes from ``/api/score``; without that path, its answer
            is yes or no.
        how : {"inner", "left", "right", "outer"}
            Which rows without a match are kept, as in ``merge`` of pandas.
        k : int
            The number of candidates of a row in each search.
        threshold : float
            The least probability of a match.
        known : dict, optional
            Pairs whose answer is known, at least three of each: ``(left label, right label)`` to
            True or False. The probability of the others is then learned from the model's
            probability, the similarities of meaning and of letters, which helps small models.
        recall_sample : int
            Ask about so many pairs that are no candidates, too, and estimate the recall from them.
        embed_model : str, optional
            The embedding model; by default the one of ``%ollama use``, else the only one on
            the server.
        suffixes : tuple of str
            What the names of columns get that both sides have.
        seed : int
            The seed of the sample.
        errors : {"raise", "coerce"}
            Whether a pair that fails stops the join, or is no match.
        cache : bool, str or Path
            Keep the answers in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            The columns of both sides, "probability" and "similarity" (the cosine of the
            embeddings). ``attrs["join"]`` is the report, a dict: of "pairs" the number that was
            "asked" and their "share", "matched", "failed", whether the model was "scored"; with
            ``recall_sample`` the estimated "recall" and "recall_low", its lower bound at 95 %; with
            ``known`` the "weights", and the "accuracy" of learned probabilities on known pairs that
            were left out of the learning, beside "model_accuracy".

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, no server or model is found, or a pair fails.

        Examples
        --------
        >>> left = pd.DataFrame({"text": ["ACME Corp.", "Blue Sky Airlines", None]})
        >>> right = pd.DataFrame({"name": ["Acme Corporation", "Red Hill Foods"]})
        >>> same = "{left.text} and {right.name} are the same company"
        >>> found = left.ollama.join(right, same, "smollm2", embed_model="all-minilm")
        >>> found.columns.tolist()
        ['text', 'name', 'probability', 'similarity']
        >>> found.attrs["join"]["pairs"], found.attrs["join"]["asked"]
        (4, 4)
        """
        joined_rows.check(how, suffixes)
        if errors not in ("raise", "coerce"):
            raise OllamaMagicsError('errors is "raise" or "coerce".')
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise OllamaMagicsError("threshold is a probability, from 0 to 1.")
        if recall_sample:
            positive(recall_sample, "recall_sample")
        positive(k, "k")
        left, right = columns.named_frame(self._data), _frame(other)
        statements = Statements(prompt, left, right)
        texts = [statements.texts_of("left"), statements.texts_of("right")]
        rows, places = (np.flatnonzero(text.notna()) for text in texts)
        answers = join.known_pairs(
            {} if known is None else known, _numbers(left, rows), _numbers(right, places)
        )
        report: dict[str, Any] = {"pairs": 0, "asked": 0, "matched": 0, "k": k}
        pairs, values = np.empty(0, dtype=np.int64), np.empty((0, 2))
        if len(rows) and len(places):
            both = [text.dropna().tolist() for text in texts]
            named = [("left", label) for label in left.index[rows]]
            named += [("right", label) for label in right.index[places]]
            every = columns.objects(both[0] + both[1], pd.Index(named, tupleize_cols=False), None)
            _, units = yield from self._vectors(every, embed_model, cache)
            weights = trigram_weights(*both)
            question = Question()

            def ask(pairs: np.ndarray) -> Plan:
                here, there = np.divmod(pairs, len(places))
                index = pd.MultiIndex.from_arrays(
                    [left.index[rows[here]], right.index[places[there]]]
                )
                asked = statements.of(rows[here], places[there])
                return self._plan_for(question.operator(), asked, model, cache, errors, index)

            views = [
                (Vectors(units[: len(rows)]), Vectors(units[len(rows) :])),
                (Letters(both[0], weights), Letters(both[1], weights)),
            ]
            call = join.Join(views, ask, k, threshold, answers)  # type: ignore[arg-type]
            pairs, values, report = yield from call.run(recall_sample, seed)
            report["scored"] = question.scored
        here, there = np.divmod(pairs, max(len(places), 1))
        result = joined_rows.side_by_side(
            left,
            right,
            rows[here],
            places[there],
            {"probability": values[:, 0], "similarity": values[:, 1]},
            how,
            suffixes,
        )
        result.attrs["join"] = report
        return result

    @in_steps
    def sim_join(
        self,
        other: pd.Series | pd.DataFrame,
        on: Any = None,
        k: int = 1,
        model: str | None = None,
        *,
        suffixes: tuple[str, str] = ("_left", "_right"),
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return each row beside the ``k`` rows of another table that are nearest to it.

        Parameters
        ----------
        other : Series or DataFrame
            The right table.
        on : hashable or tuple of two, optional
            The column of texts, or of vectors of ``embed``: one name for both sides, or the left
            and the right one. A Series needs no name.
        k : int
            The number of rows of the right table for each row.
        model : str, optional
            The embedding model, for columns of texts.
        suffixes : tuple of str
            What the names of columns get that both sides have.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            The columns of both sides and "similarity", a cosine; the rows of the left table in
            their order, and for each the nearest first. Rows with a missing value are left out.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, a column does not exist or holds other values, no server or
            model is found, or the vectors of the sides have different lengths.

        Examples
        --------
        >>> talks = pd.DataFrame({"talk": ["Training a kitten", "Buying shares"]})
        >>> fields = pd.Series(["finance", "pets"], name="field")
        >>> talks.ollama.sim_join(fields, ("talk", "field"), 1, "all-minilm").field.tolist()
        ['pets', 'finance']
        """
        joined_rows.check("inner", suffixes)
        positive(k, "k")
        left, right = columns.named_frame(self._data), _frame(other)
        names = on if isinstance(on, tuple) and len(on) == 2 else (on, on)
        sides = [_side(left, names[0], "left"), _side(right, names[1], "right")]
        (here, units), (there, others) = (
            (yield from self._vectors(sides[0], model, cache)),
            (yield from self._vectors(sides[1], model, cache)),
        )
        rows, places = np.flatnonzero(here), np.flatnonzero(there)
        if len(rows) and len(places) and units.shape[1] != others.shape[1]:
            raise OllamaMagicsError(
                f"The columns have vectors of {units.shape[1]} and of {others.shape[1]} numbers: "
                "both sides need the same model."
            )
        found, similarity = np.empty((0, 1), dtype=int), np.empty((0, 1), dtype=np.float32)
        if len(rows) and len(places):
            found, similarity = pair_candidates.nearest(Vectors(units), Vectors(others), k)
        return joined_rows.side_by_side(
            left,
            right,
            rows[: len(found)].repeat(found.shape[1]),
            places[found.ravel()],
            {"similarity": similarity.ravel()},
            suffixes=suffixes,
        )


def _frame(other: Any) -> pd.DataFrame:
    if not isinstance(other, pd.Series | pd.DataFrame):
        kind = type(other).__name__
        raise OllamaMagicsError(f"The right table is a Series or DataFrame, not {kind}.")
    return columns.named_frame(other)


def _side(frame: pd.DataFrame, name: Any, side: str) -> pd.Series:
    if name is None and frame.shape[1] != 1:
        known = ", ".join(map(str, frame.columns))
        raise OllamaMagicsError(f"Name the column of the {side} table by on=: {known}.")
    return frame.iloc[:, 0] if name is None else column_of(frame, name)


def _numbers(frame: pd.DataFrame, rows: np.ndarray) -> dict[Any, int]:
    """Return the number of each row that has a value, by its label."""
    labels = frame.index[rows]
    return {label: number for number, label in enumerate(labels)}
