"""Preventing texts of users, documents and tools from becoming control tokens.

A prompt is one text, in which the template wrote the names of control tokens, such as
``<|im_end|>``. The same name in a message is text: a guard is inserted into it before rendering,
and the tokenizer does not recognise a name with a guard. The guard is a noncharacter of Unicode,
which templates copy like any other character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple, TypeVar

GUARD = "\ufdd0"
"""A guard. In texts that contain this character it is doubled."""

_GUARDS = re.compile(f"{GUARD}{{1,2}}")
"""One guard, or two that encode the character."""

NO_BLANKS = (False, False)

T = TypeVar("T")


class PromptPart(NamedTuple):
    """A part of a prompt; with ``is_markup`` names of control tokens are tokenized as such."""

    text: str
    is_markup: bool


class ControlMarks:
    """The names of a vocabulary's control tokens.

    ``strips`` maps some of them to whether they include the white space before and after them. A
    tokenizer finds the ``insistent`` ones in every text, so a text is cut within them.
    """

    def __init__(
        self,
        names: Iterable[str],
        strips: Mapping[str, tuple[bool, bool]] | None = None,
        insistent: Iterable[str] = (),
    ) -> None:
        self._insistent = re.compile(
            "|".join(
                f"(?<={re.escape(name[0])}){GUARD}(?={re.escape(name[1:])})" for name in insistent
            )
            or "(?!)"
        )
        self._names = sorted({name for name in names if len(name) > 1})
        self._strips = strips or {}
        self._beginnings = sorted({name[:2] for name in self._names})
        self._longest = max(map(len, self._names), default=0)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(_longest_first(self._names) or "(?!)")

    def guarded(self, value: T, *, except_for: frozenset[str] = frozenset()) -> T:
        """Return a value with a guard inside each name in its texts, lists and mappings.

        ``except_for`` are names that are left unchanged.
        """
        return self._guarded(value, except_for)  # type: ignore[return-value]

    def _guarded(self, value: object, except_for: frozenset[str]) -> object:
        if isinstance(value, str):
            return self._guarded_text(value, except_for)
        if isinstance(value, Mapping):
            return {
                self._guarded(key, except_for): self._guarded(item, except_for)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._guarded(item, except_for) for item in value]
        return value

    def _guarded_text(self, text: str, except_for: frozenset[str]) -> str:
        if GUARD in text:
            text = text.replace(GUARD, 2 * GUARD)
        if not any(beginning in text for beginning in self._beginnings):
            return text

        def guard(found: re.Match[str]) -> str:
            name = found[0]
            return name if name in except_for else f"{name[0]}{GUARD}{name[1:]}"

        return self._pattern.sub(guard, text)

    def pieces(self, prompt: str) -> list[PromptPart]:
        """Split a prompt at the boundaries of markup and guarded text.

        Without guarded text the prompt is one piece.
        """
        if not has_guards(prompt):
            return [PromptPart(plain(prompt), True)]
        pieces: list[PromptPart] = []
        markup, end, strips_next = "", 0, False
        for mark in [*self._pattern.finditer(prompt), None]:
            between = prompt[end : mark.start() if mark else None]
            strips_before, strips_behind = self._strips.get(mark[0] if mark else "", NO_BLANKS)
            if has_guards(between):
                pieces += [PromptPart(markup, True)] * bool(markup)
                between = between.lstrip() if strips_next else between
                between = between.rstrip() if strips_before else between
                texts = self._insistent.split(between)
                pieces += [PromptPart(plain(text), False) for text in texts]
                markup = ""
            else:
                markup += plain(between)
            if mark:
                markup += mark[0]
                end, strips_next = mark.end(), strips_behind
        return [*pieces, *[PromptPart(markup, True)] * bool(markup)]

    def parts(self, markup: str, length: int) -> list[str]:
        """Split markup before control tokens into parts of about ``length`` characters or more.

        Such parts have the same tokens as the whole.
        """
        cuts = [0]
        while (cut := self._next_cut(markup, cuts[-1] + length)) is not None:
            cuts.append(cut)
        ends = [*cuts[1:], len(markup)]
        return [markup[start:end] for start, end in zip(cuts, ends, strict=True)]

    def _next_cut(self, markup: str, at: int) -> int | None:
        if at >= len(markup):
            return None
        for mark in self._pattern.finditer(markup, at):
            strips_before, _ = self._strips.get(mark[0], NO_BLANKS)
            # A match right after ``at`` may be the end of a longer name.
            if mark.start() >= at + self._longest and not strips_before:
                return mark.start()
        return None


def has_guards(prompt: str) -> bool:
    """Return whether a prompt contains a guard, rather than the encoded character."""
    return GUARD in prompt and any(found[0] == GUARD for found in _GUARDS.finditer(prompt))


def plain(prompt: str) -> str:
    """Return a prompt without its guards."""
    return _GUARDS.sub(lambda found: found[0][1:], prompt) if GUARD in prompt else prompt


def _longest_first(names: list[str]) -> str:
    """Return a regular expression, shaped as a trie, for the longest of sorted ``names``."""
    if not names:
        return ""
    if len(names) == 1:
        return re.escape(names[0])
    first, last = names[0], names[-1]
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    if length:
        rests = [name[length:] for name in names]
        rest = _longest_first([name for name in rests if name])
        return re.escape(first[:length]) + (f"(?:{rest})?" if "" in rests else f"(?:{rest})")
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name[0], []).append(name)
    return "|".join(_longest_first(group) for group in groups.values())
