"""An exception in few words: its message and the frames of the user's own code."""

from __future__ import annotations

import linecache
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from .tokens import cut

MOST_FRAMES = 5
MOST_CAUSES = 2
LONGEST_LINE = 160
MESSAGE_TOKENS = 120
ERROR_TOKENS = 220
CELL_TOKENS = 140
_LIBRARY_PARTS = ("site-packages", "dist-packages")

CellName = Callable[[str], str]
"""Returns "In[3]" for the file of the code of a cell, "" for another file."""


def short_traceback(error: BaseException, cell_name: CellName) -> str:
    """Return the message of an exception with the frames of cells and of the user's files.

    Frames of libraries are left out, except the place in the last one that raised it.
    """
    parts = [_one(error, cell_name)]
    said = {_message(error)}
    cause = _cause(error)
    while cause is not None and len(parts) <= MOST_CAUSES:
        message = _message(cause)
        # Libraries often raise the same error again.
        if message not in said:
            said.add(message)
            parts.append(f"It was caused by:\n{_one(cause, cell_name)}")
        cause = _cause(cause)
    return cut("\n\n".join(parts), ERROR_TOKENS)


def failing_line(error: BaseException, cell_name: CellName, cell: str) -> int:
    """Return the line of a cell, such as "In[3]", in which an exception was raised; 0 if none."""
    if isinstance(error, SyntaxError):
        return error.lineno or 0
    lines = [line for name, line, _ in _frames(error.__traceback__) if cell_name(name) == cell]
    return lines[-1] if lines else 0


def around(source: str, line: int, tokens: int = CELL_TOKENS) -> str:
    """Return the lines of a source around one of them, numbered from 1, as far as they fit."""
    lines = source.strip("\n").split("\n")
    if cut(source, tokens) == source:
        return "\n".join(lines)
    at = min(max(line - 1, 0), len(lines) - 1)
    begin = end = at
    while True:
        # The lines before the failing one say more about it.
        wider = [(max(begin - 2, 0), end), (max(begin - 2, 0), min(end + 1, len(lines) - 1))]
        fitting = [
            (first, last)
            for first, last in wider
            if (first, last) != (begin, end) and _fits(_part(lines, first, last), tokens)
        ]
        if not fitting:
            return cut(_part(lines, begin, end), tokens)
        begin, end = fitting[-1]


def _part(lines: list[str], begin: int, end: int) -> str:
    before = [f"# … {begin} lines before"] if begin else []
    after = len(lines) - 1 - end
    return "\n".join(
        [*before, *lines[begin : end + 1], *([f"# … {after} lines after"] if after else [])]
    )


def _fits(text: str, tokens: int) -> bool:
    return cut(text, tokens) == text


def _one(error: BaseException, cell_name: CellName) -> str:
    frames = list(_frames(error.__traceback__))
    own = [frame for frame in frames if cell_name(frame[0]) or not is_library(frame[0])]
    lines: list[str] = []
    for at, (file, number, function) in enumerate(own):
        if len(own) > MOST_FRAMES and at == 1:
            lines.append(f"… {len(own) - MOST_FRAMES} more calls")
        if at and at <= len(own) - MOST_FRAMES:
            continue
        place = f"Cell {cell_name(file)}" if cell_name(file) else file
        called = f", in {function}" if function != "<module>" else ""
        source = linecache.getline(file, number).strip()[:LONGEST_LINE]
        lines.append(f"{place}, line {number}{called}" + (f":\n    {source}" if source else ""))
    if frames and frames[-1] not in own:
        file, number, function = frames[-1]
        lines.append(f"raised in {_in_package(file)}:{number}, {function}")
    return "\n".join([_message(error), *lines])


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    for frame, number in traceback.walk_tb(trace):
        code = frame.f_code
        yield code.co_filename, number, code.co_name


def _message(error: BaseException) -> str:
    lines = traceback.TracebackException(type(error), error, None).format_exception_only()
    return cut("".join(lines).strip(), MESSAGE_TOKENS)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def is_library(file: str) -> bool:
    """Return whether a file is Python's own or an installed package's."""
    path = Path(file)
    if file.startswith("<") or any(part in _LIBRARY_PARTS for part in path.parts):
        return True
    # Files of C extensions have names relative to the build.
    return not path.is_absolute() or any(path.is_relative_to(one) for one in _library_folders())


def _library_folders() -> list[str]:
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return [path for path in [*paths, *site.getsitepackages()] if path]


def _in_package(file: str) -> str:
    """Return the path of a file of a library from its package on."""
    parts = Path(file).parts
    for at, part in enumerate(parts):
        if part in (*_LIBRARY_PARTS, f"python3.{sys.version_info.minor}"):
            return "/".join(parts[at + 1 :]).removeprefix("site-packages/")
    return file
