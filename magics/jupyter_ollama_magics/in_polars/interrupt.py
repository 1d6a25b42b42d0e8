"""Run a Plan inside a query of Polars, and stop when the query is interrupted.

Polars calls Python in threads of its own, which no interrupt reaches: it is raised in the main
thread after they have ended.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import polars as pl

from ..failures import Interrupted, OllamaMagicsError
from ..rows.plan import Plan

POLL_SECONDS = 0.1


def run(plan: Plan) -> Any:
    """Return the result of a Plan.

    Raises OllamaMagicsError if the query is interrupted; Polars then raises KeyboardInterrupt. The
    rows that are done are kept, as after any interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(_watched(plan))
    try:
        return plan.run(progress=False)
    except Interrupted as error:
        # Polars makes another exception of the same class from the text.
        raise Interrupted(str(error)) from None


async def _watched(plan: Plan) -> Any:
    task = asyncio.ensure_future(plan.run_async())
    while not task.done():
        await asyncio.wait({task}, timeout=POLL_SECONDS)
        if not task.done() and _is_interrupted():
            task.cancel()
            await asyncio.wait({task})
            # A KeyboardInterrupt in one of its threads would end the process.
            raise OllamaMagicsError("The query was interrupted.")
    return task.result()


def _is_interrupted() -> bool:
    try:
        # Every operation of Polars checks for an interrupt.
        _ = pl.Series([0]) + 1
    except KeyboardInterrupt:
        return True
    return False
