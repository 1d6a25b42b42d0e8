"""The page's HTML, files and stream: what each user gets, and what it costs the server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from api_client import Fetch, error, generate, wait_until
from shared_server import USER, NamedStream, Shared, sharing

from jupyter_ollama.page.document import page, page_files, refusal
from jupyter_ollama.scheduler.request import State

SHORT = {"temperature": 0, "num_predict": 8, "num_ctx": 512}
LONG = {"repetition_stop": False, "num_ctx": 4096, "logit_bias": {"0": -99, "2": -99}}
ADMIN = "root/admins"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\u202egnp.eci\u202c",
    "__proto__",
    "x" * 3000,
)


@asynccontextmanager
async def changes(shared: Shared, user: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Open the stream of a user as a page does, and close its connection at the end."""
    headers = {USER: quote(user)}
    async with (
        httpx2.AsyncClient(base_url=shared.url, trust_env=False, timeout=60) as client,
        client.stream("GET", "/page/changes", headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Cache-Control"] == "no-store"

        async def parts() -> AsyncIterator[dict[str, Any]]:
            async for line in answer.aiter_lines():
                yield json.loads(line)

        async with aclosing(parts()) as lines:  # type: ignore[type-var]
            yield lines


async def tables(shared: Shared, user: str) -> dict[str, Any]:
    """Return all tables of a user."""
    async with changes(shared, user) as parts:
        found: dict[str, Any] = (await anext(parts))["all"]
    return found


async def ask(shared: Shared, user: str, **fields: Any) -> Any:
    body = generate(options=SHORT, stream=False) | fields
    return await shared.user(user)("POST", "/api/generate", body)


async def test_the_page_loads_its_own_files_only(tmp_path: Path) -> None:
    async with sharing(models_dir=str(tmp_path)) as shared:
        fetch = shared.user(ADMIN)
        whole = await fetch("GET", "/page", headers={"Accept": "text/html"})
        assert whole.code == 200
        policy = whole.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'"} < {*policy}
        assert "frame-ancestors 'none'" in policy
        assert not [one for one in policy if "unsafe" in one or "http" in one or "*" in one]
        assert whole.headers["Cache-Control"] == "no-store"
        html = re.sub('data-settings="[^"]*"', "", whole.body.decode())
        assert not re.search(r"<style|style=|\son\w+=|javascript:|https?://", html)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))
        named = re.findall(r'(?:src|href)="/page/([\w.]+)"', html)
        assert {"main.js", "style.css", "controls.css", "tables.css", "icon.svg"} == {*named}
        for name, file in page_files().items():
            answer = await fetch("GET", f"/page/{name}")
            assert (answer.code, answer.body) == (200, file.content), name
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            again = await fetch("GET", f"/page/{name}", headers={"If-None-Match": file.tag})
            assert again.code == 304
            for other in re.findall(rb"from '\./([\w.]+)'", file.content):
                assert other.decode() in page_files(), name
            text = file.content.decode().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|innerHTML|outerHTML|\beval\(|document\.write", text)
        for name in ("page.html", "nothing.js", "..%2fdocument.py", "%2e%2e"):
            assert (await fetch("GET", f"/page/{name}")).code == 404


async def test_clients_get_what_ollama_answers(tmp_path: Path) -> None:
    async with sharing(models_dir=str(tmp_path)) as shared:
        for accept in ("*/*", "text/html", "application/json"):
            answer = await shared.user(ADMIN)("GET", "/", headers={"Accept": accept})
            assert answer.body == b"Ollama is running"


async def test_pages_of_other_origins_change_and_read_nothing(tmp_path: Path) -> None:
    async with sharing(models_dir=str(tmp_path)) as shared:
        fetch = shared.user(ADMIN)
        headers = {"Origin": "https://evil.example"}
        for method, path, body in (
            ("GET", "/page", None),
            ("GET", "/page/changes", None),
            ("PUT", "/admin/drain", {}),
            ("POST", "/admin/block", {"user": "ann"}),
        ):
            assert (await fetch(method, path, body, headers=headers)).code == 403
        assert not shared.server.admission.draining
        assert not shared.server.admission.blocked


async def test_all_pages_share_one_computation_and_none_is_without(tmp_path: Path) -> None:
    async with sharing(models_dir=str(tmp_path)) as shared:
        observer = shared.observer
        assert not observer.is_looking
        async with (
            changes(shared, ADMIN) as one,
            changes(shared, "eve/admins") as two,
            changes(shared, "ann/plain") as three,
        ):
            for parts in (one, two, three):
                assert "all" in await anext(parts)
            assert observer.viewers == 3
            before = observer.view.looks
            await asyncio.sleep(3.2)
            assert 2 <= observer.view.looks - before <= 4
        await wait_until(lambda: not observer.is_looking)
        assert observer.viewers == 0
        looks = observer.view.looks
        await asyncio.sleep(1.5)
        assert observer.view.looks == looks


async def test_a_page_asks_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyter_ollama.page.observer.STREAM_SECONDS", 1.5)
    monkeypatch.setattr("jupyter_ollama.page.observer.BEAT_SECONDS", 0.5)
    async with sharing(models_dir=str(tmp_path)) as shared:
        async with changes(shared, "ann/plain") as parts:
            found = [part async for part in parts]
        assert set(found[0]) == {"all", "now"}
        assert {"beat": 1} in found
        assert found[-1] == {"end": True}
        caplog.clear()
        await tables(shared, "ann/plain")  # closes its connection
        await wait_until(lambda: shared.observer.viewers == 0)
        assert not [one for one in caplog.records if "499" in one.getMessage()]


async def test_a_client_that_goes_at_once_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = NamedStream.prepare
    looked_up = asyncio.Event()

    async def slowly(self: NamedStream) -> None:
        await asyncio.sleep(0.5)  # as a JupyterHub that is asked for the user
        prepare(self)
        looked_up.set()

    monkeypatch.setattr(NamedStream, "prepare", slowly)
    async with sharing(models_dir=str(tmp_path)) as shared:
        port = int(shared.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /page/changes HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await looked_up.wait()
        await asyncio.sleep(0.3)
        assert shared.observer.viewers == 0


async def test_upstreams_and_their_models_are_listed(ollama_store: Path, tmp_path: Path) -> None:
    async with sharing(models_dir=str(ollama_store)) as other:
        lab = {"url": other.url, "api": "ollama"}
        dead = {"url": "http://127.0.0.1:1", "api": "openai"}
        upstreams = {"lab": lab, "dead": dead}
        async with sharing(models_dir=str(tmp_path), upstreams=upstreams) as shared:
            assert (await ask(shared, "ann", model="smollm2")).code == 200
            async with asyncio.timeout(30):
                found = await tables(shared, ADMIN)
                while found["upstreams"]["dead"]["state"] != "failing":
                    found = await tables(shared, ADMIN)
            row = found["upstreams"]["lab"]
            models = len(other.server.library.list())
            assert (row["state"], row["models"], row["answered"]) == ("ok", models, 1), row
            assert found["models"]["smollm2:latest"]["state"] == "upstream"
            mine = await tables(shared, "ann/plain")
            assert "upstreams" not in mine
            assert mine["models"]["smollm2:latest"]["state"] == "upstream"


async def test_a_jupyter_server_has_the_page_behind_its_login(jupyter: Fetch) -> None:
    answer = await jupyter("GET", "/page", headers={"Accept": "text/html"})
    assert answer.code == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b"/ollama/page/main.js" in answer.body
    refused = await jupyter("GET", "/page", headers={"Authorization": ""})
    assert refused.code == 302
    assert "/login" in refused.headers["Location"]


def test_a_name_cannot_leave_its_place_in_the_page() -> None:
    name = '"><script>alert(1)</script>$base'
    html = page("/base", {"user": name, "rights": {}}).decode()
    assert "<script>" not in html
    given = re.search('data-settings="([^"]*)"', html)
    assert given
    assert json.loads(unescape(given[1]))["user"] == name


async def test_only_what_changes_is_sent(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store)) as shared, changes(shared, ADMIN) as parts:
        found = (await anext(parts))["all"]
        assert found["server"]["server"]["prefix_sharing"] == "system"
        assert {one["state"] for one in found["models"].values()} == {"rest"}
        assert (await shared.user(ADMIN)("POST", "/admin/block", {"user": "ann"})).code == 200
        part = (await anext(parts))["changes"]
        assert set(part) == {"users", "groups"}
        assert part["users"]["rows"]["ann"]["blocked"] is True
        assert (await shared.user(ADMIN)("PUT", "/admin/drain")).code == 200
        part = (await anext(parts))["changes"]
        assert part["server"]["rows"]["server"]["draining"] is True
        assert "models" not in part


async def test_models_requests_and_speed(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store), num_parallel=1) as shared:
        admission = shared.server.admission
        tasks = [asyncio.create_task(ask(shared, "ann/s", options=LONG))]
        await wait_until(lambda: [one.state for one in admission.requests] == [State.RUNNING])
        tasks.append(asyncio.create_task(ask(shared, "bob/s", options=LONG)))
        await wait_until(lambda: len(admission.requests) == 2)
        seen: dict[str, Any] = {}
        async with changes(shared, ADMIN) as parts:
            async for part in parts:
                for name, change in part.get("changes", {}).items():
                    rows = seen.setdefault(name, {})
                    rows.update(change.get("rows", {}))
                for name, rows in part.get("all", {}).items():
                    seen[name] = dict(rows)
                model = seen["models"]["smollm2:latest"]
                if model.get("rate") and model.get("waiting"):
                    break
        assert (model["state"], model["running"], model["waiting"]) == ("loaded", 1, 1)
        assert model["size"] > 0
        assert 0 < model["rate"] == seen["server"]["server"]["rate"]
        assert {
            (one["user"], one["state"], one["position"]) for one in seen["requests"].values()
        } == {
            ("ann", "running", None),
            ("bob", "queued", 1),
        }
        mine = await tables(shared, "bob/s/plain")
        assert [one["user"] for one in mine["requests"].values()] == ["bob"]
        for request in shared.server.admission.requests:
            request.cancel()
        await asyncio.gather(*tasks)


async def test_a_member_sees_nothing_of_others(ollama_store: Path, tmp_path: Path) -> None:
    async with sharing(
        models_dir=str(ollama_store),
        record_usage=True,
        usage_file=str(tmp_path / "usage.sqlite"),
        limits={"user:quinn": {"tokens_per_day": 1}, "group:plain": {"models": ["smollm2"]}},
    ) as shared:
        assert (await ask(shared, "quinn/secretgroup")).code == 200
        await wait_until(lambda: not shared.server.admission.requests)
        assert (await ask(shared, "quinn/secretgroup")).code == 429
        limit = {"of": "user:quinn", "limits": {"concurrent": 1}, "until": str(tomorrow())}
        assert (await shared.user(ADMIN)("PUT", "/admin/limits", limit)).code == 200
        found = await tables(shared, "ann/plain")
        text = json.dumps(found)
        assert "quinn" not in text
        assert "secretgroup" not in text
        assert set(found["users"]) == {"ann"}
        assert set(found["models"]) == {"smollm2:latest"}
        assert "size" not in found["models"]["smollm2:latest"]
        assert {"groups", "devices"}.isdisjoint(found)
        own = await tables(shared, "quinn/secretgroup/plain")
        assert [one["status"] for one in own["problems"].values()] == [429]
        assert own["overrides"]["user:quinn"]["limits"] == {"concurrent": 1}
        everything = await tables(shared, ADMIN)
        assert everything["users"]["quinn"]["budgets"][0]["left"] == 0
        assert everything["groups"]["secretgroup"]["members"] == 1
        assert {"quinn", "root"} <= set(everything["users"])


async def test_users_of_the_record_are_shown_after_a_restart(
    ollama_store: Path, tmp_path: Path
) -> None:
    traits = {
        "models_dir": str(ollama_store),
        "record_usage": True,
        "usage_file": str(tmp_path / "usage.sqlite"),
        "limits": {"*": {"tokens_per_week": 10}},
        "terms": [(str(date.today()), str(tomorrow()))],
    }
    async with sharing(**traits) as shared:
        assert (await ask(shared, "ann/students")).code == 200
        refused = await ask(shared, "ann/students")
        assert refused.code == 429
        assert "the limit is 10 a week; try again in 7.0 days" in error(refused)
    async with sharing(**traits) as shared:
        row = (await tables(shared, ADMIN))["users"]["ann"]
        assert row["groups"] == ["students"]
        assert row["day"] == row["week"] == row["term"] > 10
        (budget,) = row["budgets"]
        assert (budget["period"], budget["left"]) == ("week", 0)
        usage = json.loads((await shared.user("ann")("GET", "/usage")).body)
        assert usage["week"] == usage["day"]
        assert (await ask(shared, "ann/students")).code == 429


async def test_names_are_passed_on_as_they_are(tmp_path: Path) -> None:
    async with sharing(models_dir=str(tmp_path)) as shared:
        for name in HOSTILE:
            await shared.user(ADMIN)("POST", "/admin/block", {"user": name})
        assert set(HOSTILE) <= set((await tables(shared, ADMIN))["users"])


async def test_a_user_opens_so_many_pages(tmp_path: Path) -> None:
    async with sharing(models_dir=str(tmp_path), max_pages_of_user=2, max_page_viewers=3) as shared:
        fetch = shared.user("ann/plain")
        async with changes(shared, "ann/plain") as one, changes(shared, "ann/plain") as two:
            await anext(one)
            await anext(two)
            refused = await fetch("GET", "/page/changes")
            assert refused.code == 503
            assert error(refused) == "too many pages of this server are open, try again later"
            async with changes(shared, "bob/plain") as three:
                await anext(three)
                assert (await shared.user("eve")("GET", "/page/changes")).code == 503
        await wait_until(lambda: shared.observer.viewers == 0)
        assert (await tables(shared, "ann/plain"))["users"]["ann"]["name"] == "ann"


@pytest.mark.parametrize("contact", ["", "<b>the helpdesk</b>"])
def test_a_refusal_says_whom_to_ask(contact: str) -> None:
    html = refusal("/base", 403, "<script>alert(1)</script>", contact, '/a"onclick="x').decode()
    assert "<script>" not in html
    assert '"onclick' not in html
    whom = "&lt;b&gt;the helpdesk&lt;/b&gt;" if contact else "the administrators of this Hub"
    assert f"<strong>{whom}</strong>" in html


def tomorrow() -> date:
    return date.today() + timedelta(days=1)
