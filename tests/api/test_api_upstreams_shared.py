"""Several upstreams of a model, and the rules that hold for local models."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from api_client import Fetch, chat, error, lines, wait_until
from cli_process import Served, serving
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry
from scripted_model import MESSAGES, write_scripts
from shared_server import Shared, sharing
from small_upstream import head, small_upstream
from store_models import add_model

from jupyter_ollama.api.metrics import ServerCollector
from jupyter_ollama.library.library import Library

WORDS = "These are the words of the model, a few more than a small handful of them."
ASKED = chat(model="scripted", messages=[{"role": "user", "content": "Hi"}], options={})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model "scripted"."""
    folder = tmp_path_factory.mktemp("shared")
    path = write_scripts(folder / "m.gguf", {"plain": WORDS}, template=MESSAGES)
    add_model(Library.open(folder / "models"), "scripted", path)
    return folder / "models"


@contextmanager
def two_processes(store: Path, folder: Path) -> Iterator[tuple[Served, Served]]:
    """Run two servers in processes of their own."""
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder), "OLLAMA_NUM_PARALLEL": "4"}
    folders = [folder / name for name in ("one", "two")]
    for each in folders:
        each.mkdir()
    with (
        serving(environment, store, folders[0]) as one,
        serving(environment, store, folders[1]) as two,
    ):
        yield one, two


def upstream(url: str, api: str = "ollama", **fields: Any) -> dict[str, Any]:
    return {"url": url, "api": api} | fields


def states(shared: Shared) -> dict[str, str]:
    found = shared.server.upstream_pool.described()
    return {one["name"]: one["state"] for one in found}


@pytest.mark.parametrize("api", ["ollama", "openai"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_killed_upstream_loses_no_request_before_its_first_part(
    store: Path, tmp_path: Path, api: str, stream: bool
) -> None:
    with two_processes(store, tmp_path) as (one, two):
        given = {
            "one": upstream(f"http://{one.host}", api),
            "two": upstream(f"http://{two.host}", api),
        }
        async with sharing(models_dir=str(tmp_path / "none"), upstreams=given) as front:
            user = front.user("ann")
            for member in given:  # both have loaded the model
                asked = ASKED | {"model": f"scripted@{member}", "stream": False}
                assert (await user("POST", "/api/chat", asked)).code == 200
            ended: list[Any] = []

            async def ask() -> None:
                body = ASKED | {"stream": stream}
                response = await user("POST", "/api/chat", body)
                parts = lines(response)
                ended.append((response.code, len(parts), parts[-1]))

            tasks = [asyncio.create_task(ask()) for _ in range(100)]
            await wait_until(lambda: len(ended) >= 15)
            served = {one["name"]: one["running"] for one in pool(front)}
            one.process.kill()
            await asyncio.gather(*tasks)
            assert served["one"] > 0
            failed = [one for one in ended if one[0] != 200 or "error" in one[2]]
            if not stream:
                assert not failed
            # A stream whose first part was sent cannot begin again; its error says so.
            assert all(count > 1 and "broken off" in last["error"] for _, count, last in failed)
            assert len(failed) <= served["one"]
            assert states(front) == {"one": "failing", "two": "ok"}
            before = front.server.upstream_pool.described()[0]["requests"]
            for _ in range(5):  # the one that is gone is left out
                assert (await user("POST", "/api/chat", ASKED)).code == 200
            after = front.server.upstream_pool.described()[0]["requests"]
            assert sum(after.values()) <= sum(before.values()) + 2


def pool(shared: Shared) -> list[dict[str, Any]]:
    return shared.server.upstream_pool.described()


async def test_the_least_loaded_is_chosen_by_weight(tmp_path: Path) -> None:
    async with small_upstream() as one, small_upstream() as two:

        async def wait(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(20)

        one.react = two.react = wait
        given = {"one": upstream(one.url, weight=3), "two": upstream(two.url)}
        async with sharing(models_dir=str(tmp_path), upstreams=given) as front:
            body = ASKED | {"model": "m"}
            async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
                post = client.post
                url = f"{front.url}/api/chat"
                tasks = [asyncio.create_task(post(url, json=body)) for _ in range(12)]
                await wait_until(lambda: len(one.asked) + len(two.asked) == 12)
                assert (len(one.asked), len(two.asked)) == (9, 3)
                assert [member["running"] for member in pool(front)] == [9, 3]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.wait_for(wait_until(lambda: one.open + two.open == 0), 5)
            assert [member["running"] for member in pool(front)] == [0, 0]


async def test_an_upstream_that_comes_back_is_used_again(tmp_path: Path) -> None:
    ends = [head(), b'{"message": {"content": "Hi"}, "done": true, "done_reason": "stop"}\n']
    async with small_upstream() as one:
        port = int(one.url.rpartition(":")[2])
    given = {"one": upstream(one.url, models=["m"])}
    traits: Any = {"upstreams": given, "upstream_poll_seconds": 1.0}
    async with sharing(models_dir=str(tmp_path), **traits) as front:
        user = front.user("ann")
        body = ASKED | {"model": "m", "stream": False}
        first = await user("POST", "/api/chat", body)
        assert first.code == 502
        assert "cannot be reached" in error(first)
        second = await user("POST", "/api/chat", body)
        assert second.code == 503
        assert int(second.headers["Retry-After"]) >= 1
        assert states(front) == {"one": "failing"}
        async with small_upstream(port) as again:
            again.says(*ends)
            while (await user("POST", "/api/chat", body)).code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert states(front) == {"one": "ok"}


async def said(user: Fetch, name: str) -> str:
    """Return what a model says to the question."""
    body = ASKED | {"model": name, "stream": False}
    found = json.loads((await user("POST", "/api/chat", body)).body)
    return str(found["message"]["content"])


async def test_names_that_clash(store: Path, tmp_path: Path) -> None:
    end = b'{"message": {"content": "from there"}, "done": true, "done_reason": "stop"}\n'
    async with small_upstream() as other:
        other.lists = {"/api/tags": {"models": [{"model": "scripted:latest"}]}}
        other.says(head(), end)
        for first in (False, True):
            traits: Any = {"upstreams": {"other": upstream(other.url)}, "upstreams_first": first}
            async with sharing(models_dir=str(store), **traits) as front:
                user = front.user("ann")
                assert await said(user, "scripted@other") == "from there"
                assert await said(user, "scripted") == ("from there" if first else WORDS)
                names = json.loads((await user("GET", "/api/tags")).body)["models"]
                assert [one.get("remote_host") for one in names] == ["other" if first else None]
                for name in ("scripted@nobody", "nothing@other", "scripted@other@other"):
                    missing = await user("POST", "/api/chat", ASKED | {"model": name})
                    assert missing.code == 404
                    assert name in error(missing)
                assert (await user("POST", "/api/chat", ASKED | {"model": "@other"})).code == 400


async def test_limits_budgets_and_records(store: Path, tmp_path: Path) -> None:
    limits = {
        "user:ann": {"models": ["other*"]},
        "user:bob": {"tokens_per_day": 30},
        "user:cat": {"num_predict": 3},
        "user:dan": {"concurrent": 1, "queue": 1},
    }
    async with sharing(models_dir=str(store)) as back:
        traits: Any = {
            "upstreams": {"gpu": upstream(back.url)},
            "limits": limits,
            "record_usage": True,
            "usage_file": str(tmp_path / "usage.sqlite"),
            "audit_file": str(tmp_path / "audit" / "audit.jsonl"),
        }
        async with sharing(models_dir=str(tmp_path / "none"), **traits) as front:
            front.server.open_usage()
            front.server.open_audit()
            for name in ("scripted", "scripted@gpu", "SCRIPTED:latest@gpu"):
                refused = await front.user("ann")("POST", "/api/chat", ASKED | {"model": name})
                assert refused.code == 403, name
            assert json.loads((await front.user("ann")("GET", "/api/tags")).body)["models"] == []
            whole = ASKED | {"stream": False}
            first = await front.user("bob")("POST", "/api/chat", whole)
            used = json.loads(first.body)
            assert used["prompt_eval_count"] + used["eval_count"] > 30
            spent = await front.user("bob")("POST", "/api/chat", whole)
            assert spent.code == 429
            cut = json.loads((await front.user("cat")("POST", "/api/chat", whole)).body)
            assert (cut["eval_count"], cut["done_reason"]) == (3, "length")
            several = [front.user("dan")("POST", "/api/chat", whole) for _ in range(6)]
            codes = sorted([one.code for one in await asyncio.gather(*several)])
            assert codes[0] == 200
            assert codes[-1] == 429
            await asyncio.sleep(0.2)
            sums = json.loads((await front.user("x")("GET", "/admin/usage")).body)
            text = json.dumps(sums)
            assert '"scripted:latest"' in text
            assert '"bob"' in text
            collector = ServerCollector(front.server)
            registry = CollectorRegistry()
            registry.register(collector)
            shown = generate_latest(registry).decode()
            assert 'jupyter_ollama_upstream_up{upstream="gpu"} 1.0' in shown
            assert 'jupyter_ollama_upstream_requests_running{upstream="gpu"} 0.0' in shown
            answered = [line for line in shown.splitlines() if 'outcome="answered"' in line]
            assert float(answered[0].split()[-1]) >= 3
            audit = "".join(path.read_text() for path in (tmp_path / "audit").iterdir())
            assert '"scripted:latest"' in audit or '"scripted"' in audit


@pytest.mark.parametrize("api", ["ollama", "openai"])
async def test_tokens_are_estimated_where_an_upstream_counts_none(tmp_path: Path, api: str) -> None:
    async with small_upstream() as other:
        end = {"message": {"content": "four words are here"}, "done": True}
        choice = {"delta": {"content": "four words are here"}, "finish_reason": "stop"}
        chunk = json.dumps({"choices": [choice]}).encode()
        if api == "ollama":
            other.says(head(), json.dumps(end).encode())
        else:
            other.says(head("text/event-stream"), b"data: " + chunk + b"\n\n")
        given = {"other": upstream(other.url, api)}
        async with sharing(models_dir=str(tmp_path), upstreams=given) as front:
            body = ASKED | {"model": "m", "stream": False}
            found = json.loads((await front.user("ann")("POST", "/api/chat", body)).body)
            assert 1 <= found["prompt_eval_count"] <= 5
            assert 3 <= found["eval_count"] <= 6


async def test_a_cancelled_stream_costs_what_it_wrote(store: Path, tmp_path: Path) -> None:
    async with small_upstream() as other:

        async def react(writer: asyncio.StreamWriter) -> None:
            writer.write(head())
            while True:
                writer.write(b'{"message": {"content": "words "}}\n')
                await writer.drain()
                await asyncio.sleep(0.01)

        other.react = react
        given = {"other": upstream(other.url)}
        async with sharing(models_dir=str(tmp_path), upstreams=given) as front:
            body = json.dumps(ASKED | {"model": "m"})
            async with (
                httpx2.AsyncClient(trust_env=False) as client,
                client.stream("POST", f"{front.url}/api/chat", content=body) as response,
            ):
                parts = response.aiter_lines()
                for _ in range(10):
                    await anext(parts)
                (request,) = front.server.admission.requests
            await wait_until(lambda: other.open == 0)
            await wait_until(lambda: request.closed > 0)
            assert request.generated_tokens >= 10
            assert request.prompt_tokens >= 1


async def test_an_idle_server_asks_nothing(tmp_path: Path) -> None:
    async with small_upstream() as other:
        traits: Any = {"upstreams": {"other": upstream(other.url)}, "upstream_poll_seconds": 1.0}
        async with sharing(models_dir=str(tmp_path), **traits) as front:
            await asyncio.sleep(0.3)
            await front.user("ann")("GET", "/health")
            assert not other.heads
            assert states(front) == {"other": "unknown"}
            await front.user("ann")("GET", "/api/tags")
            assert len(other.heads) == 1
            for _ in range(20):
                await front.user("ann")("GET", "/api/tags")
            assert len(other.heads) == 1
            await wait_until(lambda: len(other.heads) > 1)
            poller = front.server.upstream_pool._pollers["other"]
            poller._needed_until = 0.0
            task = poller._task
            assert task is not None
            await asyncio.wait_for(asyncio.wait([task]), 5)
            count = len(other.heads)
            await asyncio.sleep(1.5)
            assert len(other.heads) == count


async def test_load_options_of_users_who_may_not_manage_are_not_sent(tmp_path: Path) -> None:
    async with small_upstream() as other:
        other.says(head(), b'{"message": {"content": "Hi"}, "done": true}\n')
        given = {"other": upstream(other.url)}
        traits: Any = {"upstreams": given, "shared": True}
        async with sharing(models_dir=str(tmp_path), **traits) as front:
            options = {"num_ctx": 100_000, "num_gpu": 0, "temperature": 0.8, "top_k": None}
            body = ASKED | {"model": "m", "stream": False, "options": options, "keep_alive": -1}
            member = await front.user("ann/members")("POST", "/api/chat", body)
            assert member.headers["X-Ollama-Ignored"] == "num_ctx, num_gpu"
            assert other.bodies[-1]["options"] == {"temperature": 0.8}
            assert "keep_alive" not in other.bodies[-1]
            await front.user("eve")("POST", "/api/chat", body)
            sent = {"num_ctx": 100_000, "num_gpu": 0, "temperature": 0.8}
            assert other.bodies[-1]["options"] == sent


async def test_keys_come_from_a_file_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small_upstream() as other:
        other.says(head(), b'{"message": {"content": "Hi"}, "done": true}\n')
        file = tmp_path / "key"
        monkeypatch.setenv("THE_KEY", "from-the-variable")
        given = {
            "file": upstream(other.url, models={"a": "m"}, key_file=str(file)),
            "variable": upstream(other.url, models={"b": "m"}, key_env="THE_KEY"),
        }
        async with sharing(models_dir=str(tmp_path / "none"), upstreams=given) as front:
            user = front.user("ann")

            async def asked(name: str) -> int:
                body = ASKED | {"model": name, "stream": False}
                return (await user("POST", "/api/chat", body)).code

            unreadable = await user("POST", "/api/chat", ASKED | {"model": "a@file"})
            assert unreadable.code in (404, 502)
            assert str(file) not in unreadable.body.decode()
            for key in ("one", "two"):  # a new key needs no restart
                file.write_text(key + "\n")
                assert await asked("a") == 200
                assert f"authorization: bearer {key}\r\n" in other.heads[-1].lower()
            assert await asked("b") == 200
            assert "authorization: bearer from-the-variable\r\n" in other.heads[-1].lower()


async def test_batches_run_on_an_upstream(store: Path, tmp_path: Path) -> None:
    async with sharing(models_dir=str(store)) as back:
        traits: Any = {
            "upstreams": {"gpu": upstream(back.url, "openai")},
            "batch_dir": str(tmp_path / "batches"),
            "record_usage": True,
            "usage_file": str(tmp_path / "usage.sqlite"),
        }
        async with (
            sharing(models_dir=str(tmp_path / "none"), **traits) as front,
            openai.AsyncOpenAI(base_url=front.url + "/v1", api_key="x", max_retries=0) as client,
        ):
            front.server.open_usage()
            body = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
            path = "/v1/chat/completions"
            row: dict[str, Any] = {"method": "POST", "url": path, "body": body}
            rows = [json.dumps(row | {"custom_id": str(n)}).encode() for n in range(20)]
            file = await client.files.create(file=("rows.jsonl", b"\n".join(rows)), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint=path, completion_window="24h"
            )
            async with asyncio.timeout(60):
                while batch.status != "completed":
                    assert batch.status not in ("failed", "expired"), batch
                    await asyncio.sleep(0.05)
                    batch = await client.batches.retrieve(batch.id)
            assert batch.output_file_id
            answers = (await client.files.content(batch.output_file_id)).text.splitlines()
            texts = [
                json.loads(one)["response"]["body"]["choices"][0]["message"]["content"]
                for one in answers
            ]
            assert texts == [WORDS] * 20
