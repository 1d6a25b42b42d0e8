"""The methods ``topics`` and ``cluster`` of the accessors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from ..rows.texts import column_texts
from . import groups, topics
from .call import TableCall, column_of, positive
from .groups import by_size, spherical_k_means
from .steps import Steps, in_steps, with_twins


class _Topics(TableCall):
    def _topics(
        self,
        column: pd.Series,
        vectors: pd.Series,
        k: int,
        model: str | None,
        chat_model: str | None,
        typical: int,
        into: str | None,
        seed: int,
        cache: bool | str | Path,
    ) -> Steps[pd.DataFrame]:
        positive(k, "k")
        positive(typical, "typical")
        if not isinstance(into, str | None):
            raise OllamaMagicsError(f"into is the beginning of names of columns, not {into!r}.")
        column = column.mask(vectors.isna().to_numpy(bool))
        texts = np.array(column_texts(column, ".ollama.topics"), dtype=object)
        present, units = yield from self._vectors(vectors.mask(column.isna()), model, cache)
        rows = np.flatnonzero(present)
        labels = by_size(spherical_k_means(units, k, seed), k) if len(rows) else np.empty(0, int)
        numbers = range(labels.max() + 1 if len(rows) else 0)
        members = [np.flatnonzero(labels == number) for number in numbers]
        words = topics.words_of([list(texts[rows[group]]) for group in members])
        nearest = [group[topics.typical(units[group], typical)] for group in members]
        examples = [list(texts[rows[group]]) for group in nearest]
        names = [", ".join(own) or f"topic {number}" for number, own in enumerate(words)]
        if chat_model is not None and examples:
            asked = [topics.question(some) for some in examples]
            plan = self._plan_for(topics.naming(), asked, chat_model, cache, "coerce")
            answers = yield plan
            names = [name if one is None else one for name, one in zip(names, answers, strict=True)]
        names = topics.distinct(names, words)
        if into is not None:
            given = pd.array([pd.NA] * len(column), dtype="Int64")
            given[rows] = labels
            named = columns.objects([None] * len(column), column.index, None)
            named.iloc[rows] = [names[label] for label in labels]
            chosen = named.astype(pd.CategoricalDtype(names))
            frame = columns.named_frame(self._data).copy()
            frame[into], frame[f"{into}_name"] = given, chosen
            return frame
        index = pd.RangeIndex(len(members), name="topic")
        return pd.DataFrame(
            {
                "name": columns.texts(names, index, "name"),
                "rows": [len(group) for group in members],
                "words": columns.objects(words, index, "words"),
                "typical": columns.objects(examples, index, "typical"),
                "labels": columns.objects(
                    [column.index[rows[group]].tolist() for group in nearest], index, "labels"
                ),
            },
            index=index,
        )


@with_twins
class SeriesTopics(_Topics):
    """``topics`` and ``cluster`` of a Series."""

    def cluster(self, k: int = 8, model: str | None = None, *, seed: int = 0) -> pd.Series:
        """Return the number of each row's group, by spherical k-means on the vectors.

        Parameters
        ----------
        k : int
            The number of groups.
        model : str, optional
            The embedding model, if the rows are texts.
        seed : int
            The seed of the random start.

        Returns
        -------
        Series of Int64
            0 is the largest group. Missing values stay missing.

        Raises
        ------
        OllamaMagicsError
            If ``k`` is not a positive integer, or the rows are neither texts nor vectors.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", "The kitten naps", "The cat dozes", "Stocks fell"])
        >>> texts.ollama.cluster(2, "all-minilm").tolist()
        [0, 0, 0, 1]
        """
        return groups.cluster(self._data, k, model, seed)

    @in_steps
    def topics(
        self,
        k: int = 8,
        model: str | None = None,
        *,
        chat_model: str | None = None,
        typical: int = 3,
        into: str | None = None,
        seed: int = 0,
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return groups of rows of similar meaning, with names and typical rows.

        The groups are those of ``cluster`` with the same ``k`` and ``seed``.

        Parameters
        ----------
        k : int
            The number of groups; fewer if fewer rows differ.
        model : str, optional
            The embedding model.
        chat_model : str, optional
            The model that names the groups, from their typical rows. By default a name is the words
            that distinguish the group from the others.
        typical : int
            The number of typical rows of a group, those nearest to its center.
        into : str, optional
            Return the rows as a DataFrame instead, with the number of each row's group in this
            column and the name in ``into_name``.
        seed : int
            The seed of the random start.
        cache : bool, str or Path
            Keep the answers in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            A row for each group, the largest first: "name", the number of "rows", the distinctive
            "words", the "typical" texts and their "labels" in the index.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, the rows are no texts, or no server or model is found.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", "The cat naps", "A cat dozes", "Stocks fell"])
        >>> found = texts.ollama.topics(2, "all-minilm")
        >>> found[["name", "rows"]].values.tolist()
        [['cat, dozes, naps', 3], ['fell, stocks', 1]]
        """
        return (
            yield from self._topics(
                self._data, self._data, k, model, chat_model, typical, into, seed, cache
            )
        )


@with_twins
class FrameTopics(_Topics):
    """``topics`` of a DataFrame."""

    @in_steps
    def topics(
        self,
        column: Any,
        k: int = 8,
        model: str | None = None,
        *,
        vectors: Any = None,
        chat_model: str | None = None,
        typical: int = 3,
        into: str | None = None,
        seed: int = 0,
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return groups of rows whose ``column`` has a similar meaning, with names.

        Parameters
        ----------
        column : hashable
            The name of a column of texts.
        k : int
            The number of groups; fewer if fewer rows differ.
        model : str, optional
            The embedding model.
        vectors : hashable, optional
            The name of a column with the vectors of the texts, which are then not embedded again.
        chat_model : str, optional
            The model that names the groups, from their typical rows. By default a name is the words
            that distinguish the group from the others.
        typical : int
            The number of typical rows of a group, those nearest to its center.
        into : str, optional
            Return the rows instead, with the number of each row's group in this column and the name
            in ``into_name``.
        seed : int
            The seed of the random start.
        cache : bool, str or Path
            Keep the answers in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            A row for each group, the largest first: "name", the number of "rows", the distinctive
            "words", the "typical" texts and their "labels" in the index.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, a column does not exist or holds other values, or no server
            or model is found.

        Examples
        --------
        >>> frame = pd.DataFrame({"text": ["A cat sleeps", "The cat naps", "Stocks fell", None]})
        >>> frame.ollama.topics("text", 2, "all-minilm", into="topic").topic.tolist()
        [0, 0, 1, <NA>]
        """
        texts = column_of(self._data, column)
        given = texts if vectors is None else column_of(self._data, vectors)
        return (
            yield from self._topics(texts, given, k, model, chat_model, typical, into, seed, cache)
        )
