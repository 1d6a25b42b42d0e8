"""The audit log: who used which model, who changed what, and texts only where they are wanted."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from api_client import chat, generate, lines, wait_until
from shared_server import sharing

from jupyter_ollama.audit.log import AuditLog
from jupyter_ollama.scheduler.events import Events

SHORT = {"temperature": 0, "num_predict": 3, "num_ctx": 512}
SECRET = "the colour of my bicycle"
KEPT = {"time", "kind", "user", "path", "id", "model", "digest", "status", "seconds"}


@pytest.fixture
def audit_file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "audit.jsonl"


def written(path: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [one for one in found if one["kind"] == kind]


async def until(path: Path, kind: str, count: int = 1) -> list[dict[str, Any]]:
    await wait_until(lambda: path.exists() and len(written(path, kind)) >= count)
    return written(path, kind)


async def test_requests_and_changes_are_written_without_texts(
    scratch_store: Path, audit_file: Path
) -> None:
    async with sharing(models_dir=str(scratch_store), audit_file=str(audit_file)) as shared:
        shared.server.open_audit()
        ann, boss = shared.user("ann"), shared.user("boss")
        answer = await ann(
            "POST", "/api/chat", chat(messages=[{"role": "user", "content": SECRET}], options=SHORT)
        )
        assert not any("audited" in part for part in lines(answer))
        copied = {"source": "smollm2", "destination": "mine"}
        assert (await boss("POST", "/api/copy", copied)).code == 200
        assert (await boss("POST", "/admin/block", {"user": "bob"})).code == 200
        usage = json.loads((await ann("GET", "/usage")).body)
        (request,) = await until(audit_file, "request")
        changes = await until(audit_file, "change", 2)
    assert usage["audited"] == "requests"
    assert request.keys() >= KEPT
    assert (request["user"], request["path"], request["status"]) == ("ann", "/api/chat", 200)
    assert request["model"].startswith("smollm2")
    assert [one["user"] for one in changes] == ["boss", "boss"]
    assert (changes[0]["path"], changes[0]["model"]) == ("/api/copy", "mine")
    assert json.loads(changes[1]["change"]) == {"user": "bob"}
    assert SECRET not in audit_file.read_text("utf-8")
    assert stat.S_IMODE(audit_file.stat().st_mode) == 0o600


async def test_texts_are_written_if_they_are_wanted_and_users_are_informed(
    scratch_store: Path, audit_file: Path
) -> None:
    traits = {"audit_file": str(audit_file), "audit_text": True, "audit_max_text": 60}
    async with sharing(models_dir=str(scratch_store), **traits) as shared:
        shared.server.open_audit()
        ann = shared.user("ann")
        asked = generate(prompt="Hello " * 20, options=SHORT)
        parts = lines(await ann("POST", "/api/generate", asked))
        usage = json.loads((await ann("GET", "/usage")).body)
        (text,) = await until(audit_file, "text")
        (request,) = await until(audit_file, "request")
    assert parts[-1]["audited"] is True
    assert usage["audited"] == "text"
    assert len(text["text"]) == 60
    assert "model" in text["text"]
    assert text["id"] == request["id"]


def test_a_line_stays_a_line(audit_file: Path) -> None:
    log = AuditLog(audit_file, 1, Events())
    log.write("change", {"user": "eve\n{}", "model": "a\u202eb\u2028c", "status": 200})
    log.close()
    (line,) = audit_file.read_text("utf-8").splitlines()
    assert json.loads(line)["user"] == "eve\n{}"
    assert json.loads(line)["model"] == "a\u202eb\u2028c"
    assert line.isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_named_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(Path("/dev/full"), 1, Events())
    for number in range(100):
        log.write("change", {"user": "ann", "status": number})
    log.close()
    (said,) = [one for one in caplog.messages if "audit log" in one]
    assert "No space left" in said
