"""The front end that shows the outputs of a cell: a notebook, or a terminal."""

from __future__ import annotations

from typing import Any


def in_notebook(shell: Any) -> bool:
    """Return whether ``shell`` belongs to a kernel, whose front end can update an output."""
    return getattr(shell, "kernel", None) is not None


def is_attended(shell: Any) -> bool:
    """Return whether a person runs the cells of ``shell``.

    Programs that run whole notebooks, such as nbconvert and papermill, do not let cells ask for
    input. Their execute requests say so.
    """
    get_parent = getattr(getattr(shell, "kernel", None), "get_parent", None)
    request = get_parent("shell") if get_parent else {}
    return bool(request.get("content", {}).get("allow_stdin", True))
