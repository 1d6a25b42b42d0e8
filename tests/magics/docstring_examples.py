"""Runs the examples of docstrings without a trace in the process."""

from __future__ import annotations

import builtins
import doctest

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def report(test: doctest.DocTest) -> str:
    """Run the examples of a docstring and return the failures."""
    failures: list[str] = []
    # By default a runner is verbose if the command line of the process has a -v.
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    runner.run(test, out=failures.append, clear_globs=False)
    # Python's display hook keeps the last result there, which IPython takes for a user's name.
    vars(builtins).pop("_", None)
    return "".join(failures)
