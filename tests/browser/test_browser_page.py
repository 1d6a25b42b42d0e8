"""The page of a shared server in a browser: its actions, its rows, hostile names, accessibility."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jupyterlab_page import wait_until
from page_server import ADMIN, USER, PageServer, chat, generate, page_server, record_history
from peers import docker_registry
from playwright.sync_api import Browser, Locator, Page, expect
from test_browser_lab_accessibility import findings

from jupyter_ollama.library.name import DEFAULT_HOST

USERS = [(f"user{number:03d}", ["odd" if number % 2 else "even"]) for number in range(200)]
HOSTILE = (
    '<img src=x onerror="window.broken=1"><script>window.broken=1</script>',
    "\u202egnp.live\u202c",
    "__proto__",
    "\u0645\u0633\u062a\u062e\u062f\u0645",
    "w" * 10_000,
)
LONG = {"repetition_stop": False, "num_ctx": 4096, "logit_bias": {"0": -99, "2": -99}}
PATIENCE = 60_000
WIDTHS = (1280, 400)


@pytest.fixture(scope="module")
def server(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    folder = tmp_path_factory.mktemp("page")
    expect.set_options(timeout=PATIENCE)
    shutil.copytree(ollama_store, folder / "models", copy_function=os.link)
    record_history(folder / "usage.sqlite", USERS)
    with (
        docker_registry(folder / "registry") as registry,
        page_server(
            models_dir=str(folder / "models"),
            record_usage=True,
            usage_file=str(folder / "usage.sqlite"),
            num_parallel=1,
            limits={"*": {"tokens_per_day": 20_000, "tokens_per_week": 60_000}},
            shared_budgets={"group:odd": {"tokens_per_month": 3_000_000}},
            registry_mirrors={DEFAULT_HOST: f"http://{registry}"},
        ) as running,
    ):
        yield running


@contextmanager
def opened(
    browser: Browser, server: PageServer, user: str = ADMIN, section: str = "", **options: Any
) -> Iterator[Page]:
    """Open the page as a user. It may write no error to the console."""
    headers = {USER: quote(user)}
    settings: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}} | options
    context = browser.new_context(extra_http_headers=headers, **settings)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/page#{section}")
    expect(page.locator("#state")).to_have_text("Live", timeout=PATIENCE)
    try:
        yield page
    finally:
        context.close()
    assert errors == []


def row(page: Page, table: str, text: str) -> Locator:
    return page.get_by_role("table", name=table).locator("tbody tr").filter(has_text=text)


def confirm(page: Page, action: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()


def test_models_are_loaded_pinned_and_unloaded(browser: Browser, server: PageServer) -> None:
    def loaded() -> dict[str, str]:
        found = server.ask("GET", "/api/ps")["models"]
        return {one["name"]: one["expires_at"][:2] for one in found}

    with opened(browser, server) as page:
        for name in ("all-minilm:latest", "smollm2:latest"):
            line = row(page, "Models", name)
            line.get_by_role("button", name="Load").click()
            expect(line.locator(".pill")).to_have_text("loaded")
            assert name in loaded()
            line.get_by_role("button", name="Pin", exact=False).first.click()
            expect(line).to_contain_text("pinned")
            assert loaded()[name] == "23"  # the year 2318
            line.get_by_role("button", name="Unpin").click()
            expect(line).to_contain_text("idle")
            assert loaded()[name] == "20"
            line.get_by_role("button", name="Unload").click()
            confirm(page, "Unload")
            expect(line.locator(".pill")).to_have_text("at rest")
            assert name not in loaded()


def pull(page: Page, name: str) -> None:
    page.get_by_role("button", name="Pull a model").click()
    page.get_by_role("dialog").get_by_label("Model").fill(name)
    confirm(page, "Pull")


def test_a_model_is_pulled(browser: Browser, server: PageServer) -> None:
    server.ask("POST", "/api/copy", {"source": "all-minilm", "destination": "mine"})
    pushed = server.ask("POST", "/api/push", {"model": "mine", "stream": False})
    assert pushed["status"] == "success"
    server.ask("DELETE", "/api/delete", {"model": "mine"})
    with opened(browser, server) as page:
        expect(row(page, "Models", "mine:latest")).to_have_count(0)
        pull(page, "mine")
        expect(page.get_by_text("mine is installed")).to_be_visible()
        expect(row(page, "Models", "mine:latest")).to_contain_text("at rest")
        names = [one["name"] for one in server.ask("GET", "/api/tags")["models"]]
        assert "mine:latest" in names
        pull(page, "missing")
        expect(page.locator(".toast.failed")).to_contain_text("missing")
    server.ask("DELETE", "/api/delete", {"model": "mine"})


def test_requests_are_cancelled(browser: Browser, server: PageServer) -> None:
    def ask(user: str) -> Any:
        body, headers = chat(options=LONG, stream=False), {"X-Request-Id": user}
        return server.begin(server.shared.user(user)("POST", "/api/chat", body, headers=headers))

    with opened(browser, server) as page:
        tasks = [ask("user001")]
        expect(row(page, "Requests", "user001")).to_contain_text("running")
        tasks.append(ask("user002"))
        expect(row(page, "Requests", "user002")).to_contain_text("queued #1")
        expect(row(page, "Models", "smollm2")).to_contain_text("1 of 1")
        with opened(browser, server, "user002/even/plain") as theirs:
            expect(row(theirs, "Requests", "smollm2")).to_have_count(1)
            theirs.get_by_role("table", name="Requests").get_by_role(
                "button", name="Cancel"
            ).click()
            confirm(theirs, "Cancel it")
        expect(row(page, "Requests", "user002")).to_have_count(0)
        row(page, "Requests", "user001").get_by_role("button", name="Cancel").click()
        confirm(page, "Cancel it")
        expect(page.get_by_text("No request runs or waits.")).to_be_visible()
    assert [task.result(30).code for task in tasks] == [499, 499]


def test_users_are_blocked_and_limited(browser: Browser, server: PageServer) -> None:
    with opened(browser, server, section="users") as page:
        page.get_by_role("searchbox", name="Search users").fill("user007")
        line = row(page, "Users", "user007")
        expect(line).to_be_visible()
        expect(row(page, "Users", "user008")).to_be_hidden()
        line.get_by_role("button", name="Block").click()
        confirm(page, "Block")
        expect(line).to_contain_text("blocked")
        assert server.ask("GET", "/admin/requests")["blocked"] == ["user007"]
        line.get_by_role("button", name="Unblock").click()
        expect(line).not_to_contain_text("blocked")
        assert server.ask("GET", "/admin/requests")["blocked"] == []

        until = date.today() + timedelta(days=3)
        line.get_by_role("button", name="Limit").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Limit", exact=True).select_option("tokens_per_week")
        dialog.get_by_label("Value").fill("5000000")
        dialog.get_by_label("Until the end of").fill(str(until))
        confirm(page, "Set the limit")
        end = row(page, "Limits until a date", "user007").get_by_role("button", name="End")
        expect(end).to_be_visible()
        (limit,) = server.ask("GET", "/admin/limits")["overrides"]
        assert limit["of"] == "user:user007"
        assert limit["limits"] == {"tokens_per_week": 5_000_000}
        assert limit["until"].startswith(str(until + timedelta(days=1)))
        end.click()
        expect(end).to_have_count(0)
        assert server.ask("GET", "/admin/limits")["overrides"] == []


def test_the_server_is_drained(browser: Browser, server: PageServer) -> None:
    with opened(browser, server) as page:
        page.get_by_role("button", name="Drain").click()
        confirm(page, "Drain")
        expect(page.locator("#state")).to_have_text("Draining")
        assert server.read(lambda: server.shared.server.admission.draining)
        answer = server.run(server.shared.user("user003")("POST", "/api/generate", generate()))
        assert answer.code == 503
        expect(row(page, "Errors", "user003")).to_contain_text("503")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#state")).to_have_text("Live")
        assert not server.read(lambda: server.shared.server.admission.draining)


def test_batches_are_shown_to_their_owner_and_cancelled(
    browser: Browser, server: PageServer
) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 900}
    lines = [
        json.dumps(
            {"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": body}
        )
        for n in range(40)
    ]
    text = "\n".join(lines)
    form = (
        '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        f"{text}\r\n--x--\r\n"
    )

    async def create() -> str:
        client, url = server.shared.client, server.url
        headers = {USER: "user011/odd", "Content-Type": "multipart/form-data; boundary=x"}
        file = await client.fetch(f"{url}/v1/files", method="POST", headers=headers, body=form)
        wanted = {"input_file_id": json.loads(file.body)["id"], "endpoint": "/v1/chat/completions"}
        wanted["completion_window"] = "24h"
        made = await server.shared.user("user011/odd")("POST", "/v1/batches", wanted)
        return str(json.loads(made.body)["id"])

    batch = server.run(create())
    with opened(browser, server, "user012/even/plain") as other:
        expect(other.get_by_text("There are no batches.")).to_be_visible()
    with opened(browser, server, "user011/odd/plain") as mine:
        expect(row(mine, "Batches", "of 40")).to_have_count(1)
    with opened(browser, server, section="batches") as page:
        line = row(page, "Batches", "user011")
        expect(line).to_contain_text("in progress")
        line.get_by_role("button", name="Cancel").click()
        confirm(page, "Cancel it")
        expect(line).to_contain_text("cancelled")
    found = server.ask("GET", f"/v1/batches/{batch}", user="user011/odd")
    assert found["status"] == "cancelled"


def test_hostile_names_are_text(browser: Browser, server: PageServer) -> None:
    for name in HOSTILE:
        server.ask("POST", "/admin/block", {"user": name})
    try:
        with opened(browser, server, section="users") as page:
            expect(row(page, "Users", "onerror")).to_be_visible()
            names = page.get_by_role("table", name="Users").locator("bdi.name").all_inner_texts()
            for name in HOSTILE:
                assert name[:300] in names
            assert page.evaluate("window.broken") is None
            assert page.locator("main img, main script").count() == 0
            assert page.evaluate("({}).name") is None
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width == 1280
            for name in HOSTILE:
                page.get_by_role("searchbox", name="Search users").fill(name[:200])
                line = row(page, "Users", name[:200])
                line.get_by_role("button", name="Unblock").click()
                expect(line.locator(".pill")).to_have_count(0)
        assert server.ask("GET", "/admin/requests")["blocked"] == []
    finally:
        for name in HOSTILE:
            server.ask("POST", "/admin/unblock", {"user": name})


WATCH = """() => {
  window.written = new Set();
  window.rows = new Map([...document.querySelectorAll('[aria-label=Users] tbody tr')]
    .map(row => [row.querySelector('bdi').textContent, row]));
  new MutationObserver(found => found.forEach(one => {
    const row = (one.target.closest ?? one.target.parentElement.closest).call(
      one.target.closest ? one.target : one.target.parentElement, 'tr');
    if (row) window.written.add(row.querySelector('bdi').textContent);
  })).observe(document.querySelector('[aria-label=Users] tbody'),
    {subtree: true, childList: true, characterData: true, attributes: true});
}"""


def test_only_changed_rows_are_written(browser: Browser, server: PageServer) -> None:
    with opened(browser, server, section="users") as page:
        lines = page.get_by_role("table", name="Users").locator("tbody tr")
        expect(lines.nth(200)).to_be_attached()
        page.evaluate(WATCH)
        server.ask("POST", "/admin/block", {"user": "user042"})
        expect(row(page, "Users", "user042")).to_contain_text("blocked")
        page.wait_for_timeout(6000)  # each row was looked at again
        server.ask("POST", "/admin/unblock", {"user": "user042"})
        expect(row(page, "Users", "user042").locator(".pill")).to_have_count(0)
        assert page.evaluate("[...window.written]") == ["user042"]
        assert page.evaluate("[...window.rows.values()].every(row => row.isConnected)")
        # It can be sorted, and its rows stay the same elements.
        page.get_by_role("button", name="User", exact=True).click()
        expect(page.get_by_role("columnheader", name="User", exact=True)).to_have_attribute(
            "aria-sort", "ascending"
        )
        names = page.get_by_role("table", name="Users").locator("bdi.name").all_inner_texts()[::2]
        assert names == sorted(names)
        assert page.evaluate("[...window.rows.values()].every(row => row.isConnected)")


def test_a_hidden_tab_is_not_connected(browser: Browser, server: PageServer) -> None:
    def viewers() -> int:
        found: int = server.read(lambda: server.shared.observer.viewers)
        return found

    with opened(browser, server) as page:
        assert viewers() == 1
        hide = """hidden => {
          Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true});
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
        page.evaluate(hide, True)
        wait_until(page, lambda: viewers() == 0)
        wait_until(page, lambda: not server.read(lambda: server.shared.observer.is_looking))
        page.evaluate(hide, False)
        wait_until(page, lambda: viewers() == 1)
    end = time.monotonic() + 20
    while viewers():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_snippets_have_address_model_and_token(browser: Browser, server: PageServer) -> None:
    with opened(browser, server, "user005/odd/plain", "connect") as page:
        page.get_by_label("Model", exact=True).select_option("smollm2:latest")
        page.get_by_label("Token", exact=True).fill("my-own-token")
        texts = page.locator("pre code").all_inner_texts()
        assert len(texts) == 5
        for text in texts:
            assert server.url in text
            assert "smollm2:latest" in text
            assert "my-own-token" in text
            assert "{url}" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_all_sections_are_accessible(
    browser: Browser, server: PageServer, scheme: Any, width: int, request: pytest.FixtureRequest
) -> None:
    pictures = request.config.cache.mkdir("pictures")
    server.ask("POST", "/admin/block", {"user": "user042"})
    server.run(server.shared.user("user042")("POST", "/api/generate", generate()))
    limit = {"of": "group:odd", "limits": {"concurrent": 3}, "until": str(date.today())}
    server.ask("PUT", "/admin/limits", limit)
    view = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    try:
        for user in (ADMIN, "user042/even/plain"):
            with opened(browser, server, user, **view) as page:
                for tab in page.get_by_role("tab").all():
                    tab.click()
                    expect(tab).to_have_attribute("aria-selected", "true")
                    if tab.inner_text() == "Users":  # axe-core takes long for 200 rows
                        page.get_by_role("searchbox", name="Search users").fill("user04")
                    page.wait_for_timeout(100)
                    name = f"page-{user[:4]}-{tab.inner_text()}-{scheme}-{width}".replace(" ", "-")
                    page.screenshot(path=pictures / f"{name}.png")
                    found = findings(page, page.locator("html"))
                    assert not found, "\n".join(found)
                    assert page.evaluate("document.documentElement.scrollWidth") == width
        with opened(browser, server, section="users", **view) as page:
            page.get_by_role("button", name="Limit user", exact=False).first.click()
            expect(page.get_by_role("dialog")).to_be_visible()
            page.screenshot(path=pictures / f"page-limit-{scheme}-{width}.png")
            assert findings(page, page.locator("dialog")) == []
    finally:
        server.ask("POST", "/admin/unblock", {"user": "user042"})
        server.ask("DELETE", "/admin/limits", {"of": "group:odd"})


def test_the_keyboard_alone(browser: Browser, server: PageServer) -> None:
    with opened(browser, server) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.get_by_role("tab", name="Overview").focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Users")).to_be_focused()
        expect(page.get_by_role("table", name="Users")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("searchbox", name="Search users")).to_be_focused()
        page.keyboard.type("user021")
        row(page, "Users", "user021").get_by_role("button", name="Block").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(row(page, "Users", "user021").get_by_role("button", name="Block")).to_be_focused()
        assert server.ask("GET", "/admin/requests")["blocked"] == []
