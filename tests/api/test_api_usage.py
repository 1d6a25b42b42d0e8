"""The usage, limits and requests that users see, and their administration."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, answer, chat, error, generate, lines, neighbour_error, wait_until
from shared_server import Shared, sharing
from tornado.httpclient import HTTPResponse

from jupyter_ollama.budgets.budget import Key

SHORT = {"temperature": 0, "num_predict": 8, "num_ctx": 512}
LONG = {"temperature": 0, "num_predict": 3000, "num_ctx": 4096, "logit_bias": {"0": -99, "2": -99}}
COUNTS = ("requests", "prompt_tokens", "generated_tokens")


@pytest.fixture
def usage_file(tmp_path: Path) -> str:
    return str(tmp_path / "usage.sqlite")


async def ask(fetch: Fetch, path: str = "/api/generate", **fields: Any) -> HTTPResponse:
    return await fetch("POST", path, generate(options=SHORT, stream=False) | fields)


async def get(fetch: Fetch, path: str) -> dict[str, Any]:
    response = await fetch("GET", path)
    assert response.code == 200, response.body
    found: dict[str, Any] = json.loads(response.body)
    return found


async def cancelled_midway(shared: Shared, name: str) -> int:
    """Cancel a long answer; return the number of its tokens that the client has received."""
    seen: list[bytes] = []
    fetch = shared.user(name)
    body = chat(options=LONG, logprobs=True)
    headers = {"X-Request-Id": "long"}
    task = asyncio.create_task(
        fetch("POST", "/api/chat", body, headers=headers, streaming_callback=seen.append)
    )
    await wait_until(lambda: len(seen) > 5)
    assert (await fetch("DELETE", "/api/requests/long")).code == 200
    await task
    parts = [json.loads(line) for line in b"".join(seen).splitlines()]
    assert parts.pop() == {"error": "request canceled"}
    return sum(len(part["logprobs"]) for part in parts)


def reserved(shared: Shared, name: str, period: str) -> int:
    """Return the tokens that the running requests of a user may cost."""
    return shared.server.admission.ledger.counter(Key(f"user:{name}", "", period)).reserved


async def settled(shared: Shared) -> None:
    await wait_until(lambda: not shared.server.admission.requests)


async def test_usage_equals_the_counts_of_clients(ollama_store: Path, usage_file: str) -> None:
    async with sharing(
        models_dir=str(ollama_store), record_usage=True, usage_file=usage_file
    ) as shared:
        ann, bob = shared.user("ann/a/b"), shared.user("bob/b")
        openai = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 5,
            "n": 2,
        }
        continuations = {"model": "smollm2", "prompt": "A", "continuations": [" b", " c"]}
        whole, part, embedded, completed, scored = await asyncio.gather(
            answer(ann, "/api/generate", generate(options=SHORT, stream=False)),
            ann("POST", "/api/chat", chat(options=SHORT)),
            answer(ann, "/api/embed", {"model": "all-minilm", "input": ["one", "two words"]}),
            answer(bob, "/v1/chat/completions", openai),
            answer(
                ann,
                "/api/score",
                continuations,
            ),
        )
        seen = await cancelled_midway(shared, "bob/b")
        await settled(shared)
        await get(ann, "/api/tags")

        ends = [whole, lines(part)[-1]]
        prompt = sum(end["prompt_eval_count"] for end in ends)
        prompt += scored["prompt_eval_count"]
        prompt += sum(result["token_count"] for result in scored["results"])
        generated = sum(end["eval_count"] for end in ends)
        found = await get(ann, "/usage")
        models = {row["model"]: [row[name] for name in COUNTS] for row in found["day"]["models"]}
        assert models == {
            "smollm2:latest": [3, prompt, generated],
            "all-minilm:latest": [1, embedded["prompt_eval_count"], 0],
        }
        total = prompt + generated + embedded["prompt_eval_count"]
        assert found["tokens_last_minute"] == found["tokens_last_day"] == total
        assert (found["user"], found["groups"]) == ("ann", ["a", "b"])
        assert found["month"] == found["day"]

        (row,) = (await get(bob, "/usage"))["day"]["models"]
        assert row["requests"] == 2
        # A cancelled request costs its generated tokens, the last of which may not have been sent.
        more = row["generated_tokens"] - completed["usage"]["completion_tokens"] - seen
        assert 0 <= more < 40
        assert row["prompt_tokens"] > completed["usage"]["prompt_tokens"]

        all_users = (await get(shared.user("admin"), "/admin/usage"))["day"]
        assert {one["user"]: one["requests"] for one in all_users["users"]} == {"ann": 4, "bob": 2}
        groups = {row["group"]: row["requests"] for row in all_users["groups"]}
        assert groups == {"a": 4, "b": 6}
        table = await shared.user("admin")("GET", "/admin/usage.csv")
        rows = list(csv.DictReader(io.StringIO(table.body.decode())))
        assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert sum(int(one["generated_tokens"]) for one in rows) == generated + row[COUNTS[2]]
    assert b"Once upon" not in Path(usage_file).read_bytes()


async def test_quotas_survive_a_restart(ollama_store: Path, usage_file: str) -> None:
    traits: dict[str, Any] = {
        "models_dir": str(ollama_store),
        "record_usage": True,
        "usage_file": usage_file,
        "limits": {"*": {"tokens_per_day": 10}, "user:bob": {"tokens_per_day": None}},
    }
    for expected in ([200, 429], [429, 429]):
        async with sharing(**traits) as shared:
            answers = [await ask(shared.user("ann")) for _ in range(2)]
            assert [one.code for one in answers] == expected
            assert (await ask(shared.user("bob"))).code == 200
            refused = answers[1]
            assert "tokens, the limit is 10 a day; try again in 2" in error(refused)
            assert int(refused.headers["Retry-After"]) > 80000


async def test_without_a_record_there_is_no_file(ollama_store: Path, tmp_path: Path) -> None:
    file = tmp_path / "none.sqlite"
    async with sharing(models_dir=str(ollama_store), usage_file=str(file)) as shared:
        assert (await ask(shared.user("ann"))).code == 200
        await settled(shared)
        found = await get(shared.user("ann"), "/usage")
        assert found["tokens_last_day"] > 8
        assert not found["recorded"]
        assert "day" not in found
        assert await get(shared.user("ann"), "/admin/usage") == {"recorded": False}
    assert not file.exists()


async def test_a_budget_a_minute(ollama_store: Path) -> None:
    limits = {"*": {"tokens_per_minute": 10}}
    async with sharing(models_dir=str(ollama_store), limits=limits) as shared:
        ann = shared.user("ann")
        assert (await ask(ann)).code == 200
        await settled(shared)
        refused = await ask(ann)
        assert refused.code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        openai = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}]}
        other = await ann("POST", "/v1/chat/completions", openai)
        assert other.code == 429
        assert "the limit is 10 a minute" in neighbour_error(other)
        assert (await ask(shared.user("bob"))).code == 200


@pytest.mark.parametrize("num_predict", [50, -1])
async def test_requests_at_once_share_a_budget(ollama_store: Path, num_predict: int) -> None:
    limits = {"*": {"tokens_per_minute": 80}}
    async with sharing(models_dir=str(ollama_store), limits=limits) as shared:
        ann = shared.user("ann")
        options = LONG | {"num_predict": num_predict, "num_ctx": 96}
        answers = await asyncio.gather(
            *(
                ask(ann, options=options, shift=False, prompt=f"Count: {number}")
                for number in range(40)
            )
        )
        assert {one.code for one in answers} == {200, 429}
        ends = [json.loads(one.body) for one in answers if one.code == 200]
        costs = [end["prompt_eval_count"] + end["eval_count"] for end in ends]
        assert 80 <= sum(costs) < 80 + max(costs)
        assert reserved(shared, "ann", "minute") == 0


async def test_an_ample_budget_holds_no_request_back(ollama_store: Path) -> None:
    limits = {"*": {"tokens_per_minute": 100_000}}
    async with sharing(models_dir=str(ollama_store), limits=limits) as shared:
        ann = shared.user("ann")
        running = [asyncio.create_task(ask(ann, options=LONG)) for _ in range(4)]
        account = shared.server.admission.account("ann")
        await wait_until(lambda: account.running == 4)
        assert reserved(shared, "ann", "minute") > 4 * LONG["num_predict"]
        shared.server.admission.block("ann", True)
        for request in shared.server.admission.requests:
            request.cancel()
        await asyncio.gather(*running)


async def test_texts_cost_a_hundredth_of_prompts(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store)) as shared:
        ann = shared.user("ann")

        async def spent(path: str, body: dict[str, Any]) -> int:
            before = (await get(ann, "/usage"))["tokens_last_minute"]
            assert (await ann("POST", path, {"model": "smollm2"} | body)).code == 200
            await settled(shared)
            found: int = (await get(ann, "/usage"))["tokens_last_minute"]
            return found - before

        assert await spent("/api/tokenize", {"content": "a"}) == 1
        assert await spent("/api/tokenize", {"content": "a " * 5000}) >= 50
        assert await spent("/api/detokenize", {"tokens": [1] * 1001}) == 11
        message = {"role": "user", "content": "a"}
        assert await spent("/v1/messages/count_tokens", {"messages": [message]}) == 1


async def test_limits_of_requests_and_models(ollama_store: Path) -> None:
    limits = {
        "*": {"models": ["all-*"]},
        "group:s": {"models": ["smollm2"], "concurrent": 1, "queue": 1, "num_predict": 40},
    }
    async with sharing(models_dir=str(ollama_store), limits=limits) as shared:
        refused = await ask(shared.user("ann"))
        assert refused.code == 403
        assert error(refused) == ('model "smollm2:latest" is not allowed for you; allowed: all-*')
        student = shared.user("sue/s")
        assert json.loads((await ask(student, options=LONG)).body)["eval_count"] == 40
        many = [ask(student, options=LONG) for _ in range(3)]
        found = sorted([response.code for response in await asyncio.gather(*many)])
        assert found == [200, 200, 429]
        many = [ask(student, options=LONG) for _ in range(3)]
        refused = next(one for one in await asyncio.gather(*many) if one.code == 429)
        assert error(refused) == "1 of your requests wait, the limit is 1"
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await get(student, "/usage"))["limits"] == limits["group:s"]


async def test_requests_show_their_positions(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store), num_parallel=1) as shared:
        ann, bob = shared.user("ann"), shared.user("bob")
        tasks = [asyncio.create_task(ask(ann, options=LONG))]
        admission = shared.server.admission
        await wait_until(lambda: "ann" in admission.accounts and admission.accounts["ann"].running)
        for fetch, name, header in (
            (ann, "row", {"X-Ollama-Priority": "bulk"}),
            (ann, "chat", {"X-Ollama-Priority": "interactive"}),
            (bob, "bobs", {}),
        ):
            before = sum(account.waiting for account in admission.accounts.values())
            headers = {"X-Request-Id": name, **header}
            body = generate(options=SHORT, stream=False)
            tasks.append(asyncio.create_task(fetch("POST", "/api/generate", body, headers=headers)))
            await wait_until(
                lambda before=before: (
                    sum(account.waiting for account in admission.accounts.values()) > before
                )
            )
        mine = (await get(ann, "/api/requests"))["requests"]
        assert [(one["state"], one.get("position")) for one in mine] == [
            ("running", None),
            ("queued", 3),
            ("queued", 2),
        ]
        assert [one["bulk"] for one in mine] == [False, True, False]
        (bobs,) = (await get(bob, "/api/requests"))["requests"]
        assert (bobs["id"], bobs["position"]) == ("bobs", 1)
        all_users = (await get(shared.user("admin"), "/admin/requests"))["requests"]
        assert [one["user"] for one in all_users] == ["ann", "ann", "ann", "bob"]
        # Users cancel their own requests only; an administrator cancels any.
        assert (await bob("DELETE", "/api/requests/chat")).code == 404
        first = all_users[0]["id"]
        assert (await shared.user("admin")("DELETE", f"/admin/requests/{first}")).code == 200
        assert (await shared.user("admin")("DELETE", f"/admin/requests/{first}")).code in (200, 404)
        assert [response.code for response in await asyncio.gather(*tasks)] == [499, 200, 200, 200]


async def test_drain_and_resume(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store)) as shared:
        ann, admin = shared.user("ann"), shared.user("admin")
        begun: list[bytes] = []
        running = asyncio.create_task(
            ann("POST", "/api/generate", generate(), streaming_callback=begun.append)
        )
        await wait_until(lambda: bool(begun))
        assert (await admin("PUT", "/admin/drain")).code == 200
        refused = await ask(ann)
        assert refused.code == 503
        assert "takes no new requests for now" in error(refused)
        assert int(refused.headers["Retry-After"]) == 30
        health = await ann("GET", "/health")
        assert health.code == 503
        assert json.loads(health.body)["status"] == "draining"
        assert (await running).code == 200
        assert b'"done":true' in b"".join(begun)
        assert (await admin("PUT", "/admin/resume")).code == 200
        assert (await ask(ann)).code == 200
        assert (await get(ann, "/health"))["models"] == ["smollm2:latest"]


async def test_blocked_users_stay_blocked(ollama_store: Path, usage_file: str) -> None:
    traits: dict[str, Any] = {
        "models_dir": str(ollama_store),
        "record_usage": True,
        "usage_file": usage_file,
    }
    async with sharing(**traits) as shared:
        ann, admin = shared.user("ann"), shared.user("admin")
        running = asyncio.create_task(ask(ann, options=LONG))
        await wait_until(lambda: bool(shared.server.admission.requests))
        assert (await admin("POST", "/admin/block", {"user": "ann"})).code == 200
        assert (await running).code == 499
        assert (await admin("POST", "/admin/block", {})).code == 400
        assert (await ask(ann)).code == 403
        assert (await get(admin, "/admin/requests"))["blocked"] == ["ann"]
    async with sharing(**traits) as shared:
        ann, admin = shared.user("ann"), shared.user("admin")
        assert (await ask(ann)).code == 403
        assert (await ask(shared.user("bob"))).code == 200
        assert (await admin("POST", "/admin/unblock", {"user": "ann"})).code == 200
        assert (await ask(ann)).code == 200
