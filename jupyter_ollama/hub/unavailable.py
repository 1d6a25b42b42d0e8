"""An endpoint that cannot start, in place of its process.

A JupyterHub exits if a service that it starts ends before it answers. So the process stays for a
while and answers 503; the Hub starts the service again after its end.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from urllib.parse import urlsplit

from tornado import web

log = logging.getLogger(__name__)

STAY_SECONDS = 60.0
"""Longer than a Hub waits for its services at its start."""
RETRY_AFTER = 90
"""Until the next attempt: these seconds, and those until the Hub looks at its services."""


class _Refusal(web.RequestHandler):
    """Answer with 503. The reason is for the log: callers are not known here."""

    def initialize(self, status: int) -> None:
        """Take the status."""
        self._status = status

    def prepare(self) -> None:
        """Answer every method."""
        self.set_status(self._status)
        self.set_header("Retry-After", str(RETRY_AFTER))
        self.set_header("Connection", "close")
        self.finish({"error": "the endpoint cannot start: the JupyterHub's log has the reason"})


def stay(url: str, prefix: str, seconds: float = STAY_SECONDS) -> None:
    """Answer 503 at the service's URL for some seconds, or until SIGTERM.

    The ``prefix`` itself is answered with 404: there the Hub looks for an answer below 500.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    asyncio.run(_stay(url, prefix, seconds))


async def _stay(url: str, prefix: str, seconds: float) -> None:
    address = urlsplit(url)
    routes = [(f"{re.escape(prefix)}/?", _Refusal, {"status": 404})]
    routes += [(".*", _Refusal, {"status": 503})]
    application = web.Application(routes, log_function=lambda _: None)
    try:
        server = application.listen(address.port or 80, address.hostname or "127.0.0.1")
    except OSError as error:
        # Whoever has the port answers the Hub.
        log.warning("%s: %s", url, error.strerror)
        server = None
    await asyncio.sleep(seconds)
    if server:
        server.stop()
        await server.close_all_connections()
