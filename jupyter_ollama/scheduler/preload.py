"""Load models before anybody asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import OllamaError
from ..options import merge_options
from .scheduler import Scheduler

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)


async def preload(names: Iterable[str], find: Callable[[str], Model], scheduler: Scheduler) -> None:
    """Load models one after the other; the log tells of those that cannot be."""
    for name in names:
        try:
            model = await asyncio.to_thread(find, name)
            options, _ = merge_options(model.params)
            async with await scheduler.acquire(model, options) as lease:
                log.info("Loaded %s in %.1f s", name, lease.load_duration / 1e9)
        except OllamaError as error:
            log.error("%s is not loaded: %s", name, error.message)
