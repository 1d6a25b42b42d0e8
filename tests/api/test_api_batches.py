"""/v1/files and /v1/batches, asked by OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import openai
import pytest
from api_client import wait_until
from batch_models import LONG, colour_store, question
from openai.types import Batch
from shared_server import USER, NamedExchange, Shared, sharing

ENDS = ("completed", "failed", "expired", "cancelled")
CHAT = "/v1/chat/completions"
ENDLESS = {"repetition_stop": False}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_store(tmp_path_factory.mktemp("colours"))


@pytest.fixture(autouse=True)
def _only_admins_administer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def may(exchange: NamedExchange, action: str, resource: str) -> bool:
        return resource != "ollama:admin" or "admins" in exchange.requester.groups

    monkeypatch.setattr(NamedExchange, "may", may)


@asynccontextmanager
async def serving(models: Path, tmp_path: Path, **traits: Any) -> AsyncIterator[Shared]:
    """Run a server that keeps its batches in a folder of the test, and records usage."""
    given = {"batch_dir": str(tmp_path / "batches"), "usage_file": str(tmp_path / "usage.sqlite")}
    given |= {"models_dir": str(models), "record_usage": True} | traits
    async with sharing(**given) as shared:
        yield shared


@asynccontextmanager
async def client_of(shared: Shared, user: str = "ann") -> AsyncIterator[openai.AsyncOpenAI]:
    client = openai.AsyncOpenAI(
        base_url=shared.url + "/v1", api_key="none", max_retries=0, default_headers={USER: user}
    )
    try:
        yield client
    finally:
        await client.close()


def chat_row(number: int, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question(number)[0]}]
    body = {"model": "colours", "messages": messages} | fields
    return {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": body}


async def send(
    client: openai.AsyncOpenAI,
    rows: Iterable[dict[str, Any] | bytes],
    endpoint: Any = CHAT,
    **fields: Any,
) -> Batch:
    """Upload rows and begin a batch."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    content = b"\n".join(lines) + b"\n"
    file = await client.files.create(file=("rows.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "rows.jsonl", "batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields
    )


async def ended(client: openai.AsyncOpenAI, batch: Batch) -> Batch:
    """Wait for the end of a batch."""
    async with asyncio.timeout(60):
        while batch.status not in ENDS:
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def progressed(client: openai.AsyncOpenAI, batch: Batch, rows: int) -> None:
    """Wait until so many rows have answers."""
    async with asyncio.timeout(60):
        counts = None
        while counts is None or counts.completed < rows:
            await asyncio.sleep(0.01)
            counts = (await client.batches.retrieve(batch.id)).request_counts


async def paused(client: openai.AsyncOpenAI, batch: Batch) -> str:
    """Wait until a batch pauses and return why."""
    reason = ""
    async with asyncio.timeout(60):
        while not reason:
            await asyncio.sleep(0.01)
            reason = getattr(await client.batches.retrieve(batch.id), "paused", "")
    return reason


def code_of(batch: Batch) -> str | None:
    """Return the code of the first error of a batch."""
    assert batch.errors
    assert batch.errors.data
    return batch.errors.data[0].code


async def lines_of(client: openai.AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    content = await client.files.content(file_id)
    return [json.loads(line) for line in content.text.splitlines()]


async def test_answers_every_row_in_order(models: Path, tmp_path: Path) -> None:
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        rows = [chat_row(number) for number in range(40)]
        batch = await send(client, rows, metadata={"course": "colours"})
        assert batch.status == "validating"
        assert batch.metadata == {"course": "colours"}
        batch = await ended(client, batch)
        assert batch.status == "completed", batch
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 40, "completed": 40, "failed": 0}
        assert batch.error_file_id is None
        assert batch.model == "colours:latest"
        for time in (batch.in_progress_at, batch.finalizing_at, batch.completed_at):
            assert time is not None
            assert batch.created_at <= time
        answers = await lines_of(client, batch.output_file_id)
        assert [one["custom_id"] for one in answers] == [row["custom_id"] for row in rows]
        for number, one in enumerate(answers):
            assert one["error"] is None
            assert one["response"]["status_code"] == 200
            choice = one["response"]["body"]["choices"][0]
            assert choice["message"]["content"] == question(number)[1]
        spent = [one["response"]["body"]["usage"] for one in answers]
        assert batch.usage is not None
        assert batch.usage.input_tokens == sum(one["prompt_tokens"] for one in spent)
        assert batch.usage.output_tokens == sum(one["completion_tokens"] for one in spent)
        usage = json.loads((await shared.user("ann")("GET", "/usage")).body)
        (row,) = usage["day"]["models"]
        assert row["requests"] == 40
        assert row["prompt_tokens"] == batch.usage.input_tokens
        assert row["generated_tokens"] == batch.usage.output_tokens


async def test_other_endpoints(ollama_store: Path, tmp_path: Path) -> None:
    bodies: dict[Any, dict[str, Any]] = {
        "/v1/completions": {"model": "smollm2", "prompt": "One, two", "max_tokens": 3},
        "/v1/embeddings": {"model": "all-minilm", "input": ["red", "green"]},
        "/v1/responses": {"model": "smollm2", "input": "Hello", "max_output_tokens": 3},
        "/api/chat": {"model": "smollm2", "messages": [{"role": "user", "content": "Hello"}]},
        "/api/generate": {"model": "smollm2", "prompt": "Hello"},
        "/api/embed": {"model": "all-minilm", "input": "red", "dimensions": 8},
        "/api/score": {"model": "smollm2", "prompt": "A", "continuations": [" b", " c"]},
    }
    for path in ("/api/chat", "/api/generate"):
        bodies[path]["options"] = {"num_predict": 3}
    async with serving(ollama_store, tmp_path) as shared, client_of(shared) as client:
        for path, body in bodies.items():
            row = {"custom_id": "only", "method": "POST", "url": path, "body": body}
            batch = await ended(client, await send(client, [row], path))
            assert batch.status == "completed"
            (line,) = await lines_of(client, batch.output_file_id)
            direct = await shared.user("ann")("POST", path, body | {"stream": False})
            answer = line["response"]["body"]
            assert answer.keys() == json.loads(direct.body).keys(), path
            if "embed" in path:
                vectors = answer.get("embeddings") or [one["embedding"] for one in answer["data"]]
                wanted = body.get("dimensions", 384)
                assert [len(vector) for vector in vectors] == [wanted] * (1 + ("v1" in path))


async def test_a_model_that_is_not_allowed(models: Path, tmp_path: Path) -> None:
    limits = {"user:ann": {"models": ["other"]}}
    async with serving(models, tmp_path, limits=limits) as shared, client_of(shared) as client:
        batch = await ended(client, await send(client, [chat_row(0)]))
        (line,) = await lines_of(client, batch.error_file_id)
        assert line["response"]["status_code"] == 403
        assert "is not allowed for you" in line["response"]["body"]["error"]["message"]
        assert not shared.server.scheduler.loaded()


async def test_rows_that_fail(models: Path, tmp_path: Path) -> None:
    missing = chat_row(1)
    missing["body"]["model"] = "nope"
    rows = [chat_row(0), missing, chat_row(2, messages=[]), chat_row(3)]
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        batch = await ended(client, await send(client, rows))
        assert batch.status == "completed"
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 4, "completed": 2, "failed": 2}
        good = await lines_of(client, batch.output_file_id)
        assert [one["custom_id"] for one in good] == ["row-0", "row-3"]
        bad = await lines_of(client, batch.error_file_id)
        assert [one["custom_id"] for one in bad] == ["row-1", "row-2"]
        assert [one["response"]["status_code"] for one in bad] == [404, 400]
        errors = [one["response"]["body"]["error"]["message"] for one in bad]
        assert errors == ["model 'nope' not found", "[] is too short - 'messages'"]


BROKEN: list[tuple[bytes, str, str]] = [
    (b"{not json", "invalid_json_line", ""),
    (b"[]", "invalid_json_line", ""),
    (
        json.dumps(chat_row(1) | {"custom_id": ""}).encode(),
        "missing_required_parameter",
        "custom_id",
    ),
    (json.dumps(chat_row(0)).encode(), "duplicate_custom_id", "custom_id"),
    (json.dumps(chat_row(1) | {"method": "GET"}).encode(), "invalid_method", "method"),
    (json.dumps(chat_row(1) | {"url": "/v1/embeddings"}).encode(), "invalid_url", "url"),
    (json.dumps(chat_row(1) | {"body": "Hi"}).encode(), "missing_required_parameter", "body"),
    (json.dumps(chat_row(1, stream=True)).encode(), "invalid_request", "body.stream"),
]


@pytest.mark.parametrize(("line", "code", "param"), BROKEN)
async def test_faults_of_an_input_fail_the_batch(
    tmp_path: Path, line: bytes, code: str, param: str
) -> None:
    async with serving(tmp_path / "none", tmp_path) as shared, client_of(shared) as client:
        batch = await ended(client, await send(client, [chat_row(0), b"", line]))
        assert batch.status == "failed"
        assert batch.output_file_id is None
        assert batch.errors is not None
        assert batch.errors.data is not None
        (error,) = batch.errors.data
        assert (error.code, error.line, error.param or "") == (code, 3, param)
        assert error.message
        assert not shared.server.admission.requests


async def test_refused_calls(tmp_path: Path) -> None:
    bounds = {"max_batch_lines": 2, "max_batch_file_bytes": 1000, "max_user_batch_files": 5}
    async with (
        serving(tmp_path / "none", tmp_path, **bounds) as shared,
        client_of(shared) as client,
    ):
        file = await client.files.create(file=b"\n", purpose="batch")
        notes = await client.files.create(file=b"{}", purpose="user_data")

        async def refused(work: Any, status: int, text: str) -> None:
            with pytest.raises(openai.APIStatusError) as caught:
                await work
            assert (caught.value.status_code, text in caught.value.message) == (status, True), (
                caught.value.message
            )

        files, batches = client.files, client.batches
        create = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}

        def begin(**fields: Any) -> Any:
            return batches.create(**(create | fields))

        await refused(files.create(file=b"x", purpose="vision"), 400, "purpose must be")
        await refused(files.create(file=b"x" * 2000, purpose="batch"), 413, "1000 bytes")
        await refused(files.retrieve("file-nope"), 404, "No such File object: file-nope")
        await refused(begin(endpoint="/v1/moderations"), 400, "endpoint must be one of")
        await refused(begin(input_file_id="file-nope"), 404, "file-nope")
        await refused(begin(input_file_id=notes.id), 400, 'the purpose "user_data"')
        await refused(begin(completion_window="9000h"), 400, "completion_window")
        await refused(begin(metadata={"a": "x" * 513}), 400, "metadata")
        await refused(batches.retrieve("batch_nope"), 404, "batch_nope")
        empty = await ended(client, await begin())
        assert empty.status == "failed"
        assert code_of(empty) == "empty_file"
        await refused(batches.cancel(empty.id), 409, "status 'failed'")
        long = await client.files.create(file=b"{}\n" * 3, purpose="batch")
        failed = await ended(client, await begin(input_file_id=long.id))
        assert code_of(failed) == "too_many_tasks"
        answer = await shared.user("ann")("POST", "/v1/files", {}, headers={"Content-Type": "a"})
        assert answer.code == 400
        for _ in range(2):
            await files.create(file=b"{}", purpose="batch")
        await refused(files.create(file=b"{}", purpose="batch"), 429, "5 files")


async def test_files_are_listed_in_pages_and_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path / "none", tmp_path) as shared, client_of(shared) as client:
        made = [await client.files.create(file=b"{}", purpose="batch") for _ in range(5)]
        newest_first = [file.id for file in reversed(made)]
        assert [file.id async for file in client.files.list(limit=2)] == newest_first
        assert [file.id async for file in client.files.list(order="asc")] == newest_first[::-1]
        assert [file.id async for file in client.files.list(purpose="user_data")] == []
        deleted = await client.files.delete(made[0].id)
        assert deleted.deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.content(made[0].id)
        assert len(list((tmp_path / "batches" / "files").iterdir())) == 4
        content = await shared.user("ann")("GET", f"/v1/files/{made[1].id}/content")
        assert content.headers["X-Content-Type-Options"] == "nosniff"
        assert content.headers["Content-Disposition"].startswith("attachment")


async def test_a_long_file_arrives_whole(tmp_path: Path) -> None:
    content = b"".join(b'{"n": %d, "text": "\xc3\xa9"}\r\n' % number for number in range(200_000))
    async with serving(tmp_path / "none", tmp_path) as shared, client_of(shared) as client:
        file = await client.files.create(file=("a b.jsonl", content), purpose="batch")
        assert (await client.files.content(file.id)).content == content


async def test_batches_are_their_owners(models: Path, tmp_path: Path) -> None:
    async with (
        serving(models, tmp_path) as shared,
        client_of(shared, "ann/members") as ann,
        client_of(shared, "bob/members") as bob,
        client_of(shared, "root/admins") as root,
    ):
        row = chat_row(0, messages=[{"role": "user", "content": LONG}], options=ENDLESS)
        batch = await send(ann, [row])
        await wait_until(lambda: bool(shared.server.admission.requests))
        for work in (
            bob.batches.retrieve(batch.id),
            bob.batches.cancel(batch.id),
            bob.files.retrieve(batch.input_file_id),
            bob.files.content(batch.input_file_id),
            bob.files.delete(batch.input_file_id),
            root.files.content(batch.input_file_id),
            bob.batches.create(
                input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"
            ),
        ):
            with pytest.raises(openai.NotFoundError):
                await work
        assert [one.id async for one in bob.batches.list()] == []
        assert [one.id async for one in root.batches.list()] == []
        (listed,) = json.loads((await shared.user("root/admins")("GET", "/admin/batches")).body)[
            "data"
        ]
        assert (listed["user"], listed["groups"], listed["id"]) == ("ann", ["members"], batch.id)
        with pytest.raises(openai.ConflictError, match="has not ended"):
            await ann.files.delete(batch.input_file_id)
        assert (await root.batches.cancel(batch.id)).status == "cancelling"
        assert (await ended(ann, batch)).status == "cancelled"


async def test_a_cancelled_batch_keeps_its_answers(models: Path, tmp_path: Path) -> None:
    endless = chat_row(8, messages=[{"role": "user", "content": LONG}], options=ENDLESS)
    rows = [*(chat_row(number) for number in range(8)), endless, chat_row(9)]
    async with serving(models, tmp_path, batch_rows=1) as shared, client_of(shared) as client:
        batch = await send(client, rows)
        await progressed(client, batch, 8)
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        batch = await ended(client, batch)
        assert batch.status == "cancelled"
        assert batch.cancelled_at
        assert len(await lines_of(client, batch.output_file_id)) == 8
        left = await lines_of(client, batch.error_file_id)
        assert [one["custom_id"] for one in left] == ["row-8", "row-9"]
        assert {one["error"]["code"] for one in left} == {"batch_cancelled"}
        assert not shared.server.admission.requests


async def test_an_expired_batch_keeps_its_answers(models: Path, tmp_path: Path) -> None:
    endless = chat_row(1, messages=[{"role": "user", "content": LONG}], options=ENDLESS)
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        batch = await send(client, [chat_row(0), endless])
        await progressed(client, batch, 1)
    # The time passes while no server runs.
    change_record(tmp_path, batch.id, expires_at=batch.created_at + 1)
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        batch = await ended(client, batch)
        assert batch.status == "expired"
        assert [one["custom_id"] for one in await lines_of(client, batch.output_file_id)] == [
            "row-0"
        ]
        (left,) = await lines_of(client, batch.error_file_id)
        assert left["error"]["code"] == "batch_expired"


def change_record(tmp_path: Path, batch_id: str, **fields: Any) -> None:
    """Change the record of a batch while no server has it."""
    with (
        closing(sqlite3.connect(tmp_path / "batches" / "batches.sqlite")) as connection,
        connection,
    ):
        query = "SELECT record FROM batches WHERE id = ?"
        record = json.loads(connection.execute(query, (batch_id,)).fetchone()[0]) | fields
        update = "UPDATE batches SET record = ? WHERE id = ?"
        connection.execute(update, (json.dumps(record).encode(), batch_id))


async def test_a_drained_server_goes_on_later(models: Path, tmp_path: Path) -> None:
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        root = shared.user("root/admins")
        assert (await root("PUT", "/admin/drain")).code == 200
        batch = await send(client, [chat_row(0)])
        assert "takes no new requests" in await paused(client, batch)
        assert (await root("PUT", "/admin/resume")).code == 200
        assert (await ended(client, batch)).status == "completed"


async def test_a_blocked_user_waits(models: Path, tmp_path: Path) -> None:
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        row = chat_row(0, messages=[{"role": "user", "content": LONG}], options=ENDLESS)
        batch = await send(client, [row, chat_row(1)])
        admission = shared.server.admission
        await wait_until(lambda: admission.account("ann").running > 0)
        assert (
            await shared.user("root/admins")("POST", "/admin/block", {"user": "ann"})
        ).code == 200
        await wait_until(lambda: not admission.requests)
        file = await client.files.create(file=b"{}", purpose="batch")
        with pytest.raises(openai.PermissionDeniedError, match="until an administrator"):
            await client.batches.create(
                input_file_id=file.id, endpoint=CHAT, completion_window="24h"
            )
        assert (await client.batches.retrieve(batch.id)).status == "in_progress"
        assert (
            await shared.user("root/admins")("POST", "/admin/unblock", {"user": "ann"})
        ).code == 200
        await wait_until(lambda: admission.account("ann").running > 0)  # it is sent again
        await client.batches.cancel(batch.id)
        assert (await ended(client, batch)).status == "cancelled"


async def test_a_spent_budget_is_waited_for(models: Path, tmp_path: Path) -> None:
    limits = {"user:ann": {"tokens_per_minute": 30, "concurrent": 1}}
    async with serving(models, tmp_path, limits=limits) as shared, client_of(shared) as client:
        batch = await send(client, [chat_row(number) for number in range(20)])
        assert "the limit is 30 a minute" in await paused(client, batch)
        now = await client.batches.retrieve(batch.id)
        assert now.request_counts is not None
        assert now.request_counts.failed == 0


async def test_rows_leave_slots_and_places_in_the_queue(models: Path, tmp_path: Path) -> None:
    """While a batch runs, its user's question is neither refused nor does it wait for the batch."""
    limits = {"*": {"concurrent": 2, "queue": 4}}
    async with serving(models, tmp_path, limits=limits) as shared, client_of(shared) as client:
        rows = [
            chat_row(
                n,
                max_tokens=60,
                messages=[{"role": "user", "content": f"{LONG} {n}"}],
                options=ENDLESS,
            )
            for n in range(40)
        ]
        batch = await send(client, rows)
        account = shared.server.admission.account("ann")
        await wait_until(lambda: account.running == 2)
        assert account.waiting <= 2
        answer = await client.chat.completions.create(
            model="colours", messages=[{"role": "user", "content": question(3)[0]}]
        )
        assert answer.choices[0].message.content == question(3)[1]
        found = await client.batches.retrieve(batch.id)
        assert found.status == "in_progress"
        await client.batches.cancel(batch.id)
        assert (await ended(client, batch)).status == "cancelled"


async def test_the_next_server_goes_on(models: Path, tmp_path: Path) -> None:
    rows = [chat_row(number, max_tokens=20) for number in range(60)]
    async with serving(models, tmp_path, batch_rows=2) as shared, client_of(shared) as client:
        batch = await send(client, rows)
        await progressed(client, batch, 5)
    async with serving(models, tmp_path) as shared, client_of(shared) as client:
        before = await client.batches.retrieve(batch.id)
        assert before.request_counts is not None
        assert 5 <= before.request_counts.completed < 60
        batch = await ended(client, batch)
        assert batch.request_counts is not None
        assert batch.request_counts.completed == 60
        answers = await lines_of(client, batch.output_file_id)
        assert [one["custom_id"] for one in answers] == [row["custom_id"] for row in rows]
        assert batch.usage is not None
        usage = json.loads((await shared.user("ann")("GET", "/usage")).body)["day"]["models"]
        assert sum(one["requests"] for one in usage) == 60
        assert sum(one["generated_tokens"] for one in usage) == batch.usage.output_tokens
        assert not [*connect(tmp_path).execute("SELECT * FROM answers")]


async def test_a_second_server_leaves_the_folder_alone(tmp_path: Path) -> None:
    async with serving(tmp_path / "none", tmp_path) as shared, client_of(shared) as client:
        await client.files.create(file=b"{}", purpose="batch")
        async with serving(tmp_path / "none", tmp_path) as other, client_of(other) as second:
            with pytest.raises(openai.InternalServerError, match="another server uses the folder"):
                await second.files.create(file=b"{}", purpose="batch")
        assert len((await client.files.list()).data) == 1


async def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    bounds = {"max_user_batch_bytes": 5000}
    async with (
        serving(tmp_path / "none", tmp_path, **bounds) as shared,
        client_of(shared) as client,
    ):
        await client.files.create(file=b"x" * 4000, purpose="batch")
        with pytest.raises(openai.APIStatusError, match="delete files that you no longer need"):
            await client.files.create(file=b"x" * 4000, purpose="batch")
        async with client_of(shared, "bob") as bob:
            await bob.files.create(file=b"x" * 4000, purpose="batch")
        assert len((await client.files.list()).data) == 1
        assert len(list((tmp_path / "batches" / "files").iterdir())) == 2


def connect(tmp_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(tmp_path / "batches" / "batches.sqlite")
