"""Two hundred users at once: no user gets another's answer, and refusals are reported."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import psutil
import pytest
import scripted_model
from shared_server import Shared, sharing
from store_models import add_model
from tornado.httpclient import HTTPResponse

from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

USERS = 200
EACH = 2
SECONDS = 4.0
"""The seconds for which requests arrive, at times of a Poisson process."""


def nonces(count: int) -> dict[str, str]:
    """Return what questions have in them, and what only their answers have."""
    chance = random.Random(1)
    words = [f"{number:012x}" for number in chance.sample(range(16**12), 2 * count)]
    return dict(zip(words[:count], words[count:], strict=True))


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    return nonces(USERS * EACH)


@pytest.fixture(scope="module")
def crowd_store(secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model that has another answer to each question."""
    folder = tmp_path_factory.mktemp("crowd")
    model = scripted_model.write_scripts(folder / "model.gguf", secrets)
    library = Library(Store(folder / "models"))
    add_model(library, "oracle", model, parameters={"num_ctx": 256, "temperature": 0})
    return folder / "models"


async def ask_all(shared: Shared, secrets: dict[str, str]) -> dict[str, HTTPResponse]:
    chance = random.Random(2)
    moments = {question: chance.uniform(0, SECONDS) for question in secrets}
    answers: dict[str, HTTPResponse] = {}

    async def ask(number: int, question: str) -> None:
        await asyncio.sleep(moments[question])
        body = {
            "model": "oracle",
            "messages": [{"role": "user", "content": question}],
            "stream": number % 3 > 0,
        }
        fetch = shared.user(f"user{number % USERS}")
        answers[question] = await fetch("POST", "/api/chat", body)

    await asyncio.gather(*(ask(number, question) for number, question in enumerate(secrets)))
    return answers


def text_of(response: HTTPResponse) -> str:
    parts = [json.loads(line) for line in response.body.splitlines()]
    assert parts[-1]["done"]
    return "".join(part["message"]["content"] for part in parts)


def memory() -> int:
    process = psutil.Process()
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


async def test_no_answer_is_lost_or_anothers(crowd_store: Path, secrets: dict[str, str]) -> None:
    async with sharing(models_dir=str(crowd_store), num_parallel=4) as shared:
        answers = await ask_all(shared, secrets)
        assert {question: text_of(one) for question, one in answers.items()} == secrets
        before = memory()
        await ask_all(shared, secrets)
        assert memory() - before < 100e6
        assert not shared.server.admission.requests
        assert all(
            (account.running, account.waiting, account.queues) == (0, 0, set())
            for account in shared.server.admission.accounts.values()
        )


async def test_refusals_have_a_reason_and_a_retry_time(
    crowd_store: Path, secrets: dict[str, str]
) -> None:
    traits = {"max_queue": 8, "num_parallel": 1, "limits": {"*": {"concurrent": 1, "queue": 0}}}
    async with sharing(models_dir=str(crowd_store), **traits) as shared:
        same_user = {f"user{number}": [] for number in range(4)}
        answers = {}

        async def ask(number: int, question: str) -> None:
            fetch = shared.user([*same_user][number % 4] if number < 40 else f"user{number}")
            body = {"model": "oracle", "messages": [{"role": "user", "content": question}]}
            answers[question] = await fetch("POST", "/api/chat", body)

        await asyncio.gather(*(ask(number, question) for number, question in enumerate(secrets)))
        codes = Counter(one.code for one in answers.values())
        assert set(codes) == {200, 429, 503}
        assert sum(codes.values()) == len(secrets)
        for question, one in answers.items():
            if one.code == 200:
                assert text_of(one) == secrets[question]
            else:
                assert list(json.loads(one.body)) == ["error"]
                assert int(one.headers["Retry-After"]) >= 1
