"""Other people's requests at a server, for tests and benchmarks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.request import Request, urlopen

ENDLESS = {"temperature": 0, "logit_bias": {"2": -100, "0": -100}}
"""Options of smollm2 for answers that do not end: without the tokens that end them."""


def ask(url: str, options: dict[str, Any]) -> None:
    """Continue a word, to the end or until the request is cancelled."""
    body = {"model": "smollm2", "prompt": "Once", "raw": True, "options": options}
    request = Request(f"{url}/api/generate", json.dumps(body).encode())
    with suppress(OSError), urlopen(request) as answer:
        answer.read()


def requests(url: str) -> list[dict[str, Any]]:
    """Return the requests that the server has."""
    with urlopen(f"{url}/api/requests", timeout=10) as answer:
        return list(json.load(answer)["requests"])


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for a minute at most."""
    end = time.monotonic() + 60
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.005)


@contextmanager
def crowd(url: str, count: int) -> Iterator[None]:
    """Let ``count`` streams of others run. At the end no request is left."""
    threads = [threading.Thread(target=ask, args=(url, ENDLESS)) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(one["state"] == "running" for one in requests(url)) == count)
    yield
    for one in requests(url):
        urlopen(Request(f"{url}/api/requests/{one['id']}", method="DELETE")).close()
    for thread in threads:
        thread.join()
    wait_until(lambda: not requests(url))
