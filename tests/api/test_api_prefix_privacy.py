"""Users learn nothing of the prompts of others: right and wrong guesses cost the same."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from api_client import answer, wait_until
from image_files import noise, saved
from shared_server import Shared, sharing
from store_models import add_seeing_model

from jupyter_ollama.library.library import Library

RULES = "Answer as the librarian of the town would do it. "
SECRET, WRONG, FIRST = "4711", "9711", "0000"
"""Guesses differ from each other in their first digit, so that those before do not matter."""
PICTURES = [base64.b64encode(saved(noise(48, 40, seed))).decode() for seed in range(3)]
GREEDY = {"temperature": 0, "num_predict": 2, "num_ctx": 1024}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    add_seeing_model(Library.open(folder / "models"), "seeing", folder)
    return folder / "models"


class Readers:
    """Users of a server, and the tokens that the runner computed for each request."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._ended: list[tuple[str, int, int]] = []
        shared.server.events.listeners.append(self._listen)

    def _listen(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "finish":
            request = data["request"]
            self._ended.append((request.user, request.computed, request.cached_tokens))

    async def ask(self, user: str, path: str, body: dict[str, Any]) -> tuple[int, int]:
        """Return the tokens computed for a request, and those that were cached."""
        before = len(self._ended)
        reported = await answer(self._shared.user(user), path, {"model": "seeing"} | body)
        await wait_until(lambda: len(self._ended) > before)
        name, computed, cached = self._ended[-1]
        assert name == user.partition("/")[0]
        assert reported.get("prompt_eval_cached_count", cached) == cached
        return computed, cached

    async def say(self, user: str, system: str, text: str = "Hello") -> tuple[int, int]:
        return await self.ask(user, "/api/chat", chat(text, system))


@asynccontextmanager
async def reading(store: Path, **traits: Any) -> AsyncIterator[Readers]:
    async with sharing(models_dir=str(store), **traits) as shared:
        yield Readers(shared)


def tokens(text: str) -> int:
    """Count the tokens of a prompt: BOS and a token for each byte, three for a blank."""
    return 1 + len(text.encode()) + 2 * text.count(" ")


def chat(text: str, system: str = "", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] * bool(system)
    messages.append({"role": "user", "content": text} | fields)
    return {"messages": messages, "stream": False, "options": GREEDY}


def generate(text: str, **fields: Any) -> dict[str, Any]:
    return {"prompt": text, "stream": False, "options": GREEDY} | fields


def native_chat(text: str, place: int) -> dict[str, Any]:
    return chat(text)


def system_prompt(text: str, place: int) -> dict[str, Any]:
    return chat("Hello", text)


def native_generate(text: str, place: int) -> dict[str, Any]:
    return generate(text)


def system_of_generate(text: str, place: int) -> dict[str, Any]:
    return generate("Hello", system=text)


def template(text: str, place: int) -> dict[str, Any]:
    return generate("Hello", system=text, template="{{ .System }} {{ .Prompt }}")


def raw(text: str, place: int) -> dict[str, Any]:
    return generate(text, raw=True)


def earlier(text: str, place: int) -> dict[str, Any]:
    return generate("Hello", context=[byte + 3 for byte in text.encode()])


def picture(text: str, place: int) -> dict[str, Any]:
    return chat(RULES * 2, images=[PICTURES[place]])


def openai_chat(text: str, place: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 2, "temperature": 0}


def openai_completion(text: str, place: int) -> dict[str, Any]:
    return {"prompt": text, "max_tokens": 2, "temperature": 0}


def openai_response(text: str, place: int) -> dict[str, Any]:
    return {"input": "Hello", "instructions": text, "max_output_tokens": 16, "temperature": 0}


def anthropic(text: str, place: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello"}]
    return {"system": text, "messages": messages, "max_tokens": 2, "temperature": 0}


def score(text: str, place: int) -> dict[str, Any]:
    return {"prompt": text, "continuations": [" yes", " no"], "options": GREEDY}


def embed(text: str, place: int) -> dict[str, Any]:
    return {"input": text}


WAYS = [
    ("/api/chat", native_chat),
    ("/api/chat", system_prompt),
    ("/api/chat", picture),
    ("/api/generate", native_generate),
    ("/api/generate", system_of_generate),
    ("/api/generate", template),
    ("/api/generate", raw),
    ("/api/generate", earlier),
    ("/v1/chat/completions", openai_chat),
    ("/v1/completions", openai_completion),
    ("/v1/responses", openai_response),
    ("/v1/messages", anthropic),
    ("/api/score", score),
    ("/api/embed", embed),
]


async def attack(
    readers: Readers, path: str, make: Any, victims: int, *, groups: str = "", of_eve: str = ""
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the costs of a wrong and a right guess, after some users have sent the secret."""
    text = f"{make.__name__}: {RULES * 3}The code is "
    for number in range(victims):
        await readers.ask(f"victim{number}{groups}", path, make(f"{text}{SECRET}.", 0))
    guesses = {FIRST: 1, WRONG: 2, SECRET: 0}
    costs = {
        guess: await readers.ask(f"eve{of_eve}", path, make(f"{text}{guess}.", place))
        for guess, place in guesses.items()
    }
    return costs[WRONG], costs[SECRET]


async def test_guesses_disclose_nothing(store: Path) -> None:
    """Two users have sent the secret, one fewer than make a system prompt common."""
    async with reading(store, prefix_accounts=3) as readers:
        for path, make in WAYS:
            wrong, right = await attack(readers, path, make, victims=2)
            assert wrong == right, make.__name__


@pytest.mark.parametrize("of_eve", ["", "/history", "/physics/history"])
async def test_guesses_disclose_nothing_to_other_groups(store: Path, of_eve: str) -> None:
    """Four members of a group have sent the secret; others learn nothing of it."""
    async with reading(store, prefix_sharing="group", prefix_accounts=1) as readers:
        for path, make in WAYS:
            wrong, right = await attack(
                readers, path, make, victims=4, groups="/physics", of_eve=of_eve
            )
            assert wrong == right, make.__name__


async def test_members_of_a_group_share_all(store: Path) -> None:
    async with reading(store, prefix_sharing="group") as readers:
        for path, make in WAYS:
            (more, _), (less, cached) = await attack(
                readers, path, make, victims=1, groups="/physics", of_eve="/physics"
            )
            assert (less < more and cached > 100) or make is embed, make.__name__


async def test_an_administrator_may_let_all_share(store: Path) -> None:
    async with reading(store, prefix_sharing="all") as readers:
        for path, make in WAYS:
            (more, _), (less, cached) = await attack(readers, path, make, victims=1)
            assert (less < more and cached > 100) or make is embed, make.__name__


async def test_a_user_shares_with_himself(store: Path) -> None:
    for policy in ("system", "account"):
        async with reading(store, prefix_sharing=policy) as readers:
            for user in ("ann", "bob"):
                read, cached = await readers.say(user, RULES * 3)
                assert (read > 100, cached) == (True, 0)
                assert (await readers.say(user, RULES * 3))[0] == 1 + GREEDY["num_predict"]


async def test_users_share_a_system_prompt_that_enough_of_them_have_sent(store: Path) -> None:
    system = f"{RULES * 3}The code is {SECRET}."
    async with reading(store, prefix_accounts=2) as readers:
        await readers.say("zoe", "")
        for user in ("ann", "bob"):
            assert (await readers.say(user, system, f"I am {user}, and I am new."))[1] == 0
        head = tokens(f"system: {system}\nuser: ")
        reported = {
            cached
            for user, text in (
                ("cyd", "Who are you?"),
                ("dan", "I am ann, and I am new."),
                ("eli", "I am ann, and I am new. Who are you?"),
            )
            for _, cached in [await readers.say(user, system, text)]
        }
        # A prompt that runs alone is read in tiles of 64 tokens.
        assert reported == {head // 64 * 64}
        again = await readers.say("ann", system, "I am ann, and I am new.")
        assert again[0] == 1 + GREEDY["num_predict"]


async def test_a_part_of_a_common_system_prompt_reveals_nothing(store: Path) -> None:
    system = f"{RULES * 3}The code is {SECRET}. Never tell it to the children."
    async with reading(store, prefix_accounts=2) as readers:
        for user in ("zoe", "ann", "bob", "cyd"):
            await readers.say(user, system)
        costs = []
        for guess in (WRONG, SECRET):
            part = f"{RULES * 3}The code is {guess}."
            fields = {"system": part, "template": "{{ .System }}{{ .Prompt }}"}
            rendered = generate(f"system: {part}", raw=True)
            costs.append(
                [
                    await readers.say(f"eve{guess}", part),
                    await readers.say(f"eve{guess}", f"{part} Never tell it to the"),
                    await readers.say(f"eve{guess}", f"{part} Never tell it to the children. So:"),
                    await readers.ask(f"eve{guess}", "/api/generate", generate("", **fields)),
                    await readers.ask(f"eve{guess}", "/api/generate", rendered),
                ]
            )
        assert costs[0] == costs[1]
        assert (await readers.say("flo", system))[1] > 100


LONG = RULES * 9
"""A system prompt of more than 512 tokens."""


async def test_the_disk_shares_what_was_shared_before(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    traits = {"prefix_dir": str(folder), "prefix_accounts": 1, "shared": True}
    own = f"The code is {SECRET}. {LONG}"
    async with reading(store, **traits) as readers:
        for user, system in (("ann", own), ("ann", own), ("ann", LONG), ("bob", LONG)):
            await readers.say(user, system)
        await wait_until(lambda: list(folder.glob("*.prefix")))
    assert len(list(folder.glob("*.prefix"))) == 1
    async with reading(store, **traits) as readers:
        for user in ("eve", "ann", "flo"):
            assert (await readers.say(user, LONG))[1] > 512
        assert (await readers.say("ann", own))[1] == 0
    async with reading(store, **traits | {"prefix_sharing": "all"}) as readers:
        assert (await readers.say("bob", LONG))[1] == 0


async def test_the_disk_keeps_nothing_of_one_account(store: Path, tmp_path: Path) -> None:
    """Two users have sent a prompt often, one fewer than make it common."""
    folder = tmp_path / "prefixes"
    traits = {"prefix_dir": str(folder), "prefix_accounts": 2, "shared": True}
    async with reading(store, **traits) as readers:
        for user in ("ann", "bob") * 3:
            await readers.say(user, LONG)
        for user in ("ann", "bob", "cyd"):
            await readers.say(user, f"Hello. {LONG}")
        await wait_until(lambda: list(folder.glob("*.prefix")))
    assert len(list(folder.glob("*.prefix"))) == 1
    async with reading(store, **traits) as readers:
        for user in ("ann", "eve"):
            assert (await readers.say(user, LONG))[1] == 0


async def test_members_of_a_group_share_the_disk(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    traits = {"prefix_dir": str(folder), "prefix_sharing": "group"}
    async with reading(store, **traits) as readers:
        for _ in range(2):
            await readers.say("ann/physics", LONG)
        await wait_until(lambda: list(folder.glob("*.prefix")))
    async with reading(store, **traits) as readers:
        for user in ("cyd/physics/tutors", "dan"):
            assert (await readers.say(user, LONG))[1] == 0
        assert (await readers.say("bob/physics", LONG))[1] > 512


async def test_an_administrator_may_keep_users_apart(store: Path) -> None:
    async with reading(store, prefix_sharing="account", prefix_accounts=1) as readers:
        for user in ("ann", "bob", "cyd", "dan"):
            assert (await readers.say(user, RULES * 3))[1] == 0
