"""The page of the endpoint in a browser, by the Hub's login: administrator, member, outsider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from browser.jupyterlab_page import chromium
from playwright.sync_api import Browser, Page, Response, expect
from running_hub import EXAMPLES, PASSWORD, Hub, running_hub
from streams import STORY

SERVICE = "/services/ollama/"
API = "/services/ollama/ollama"
PATIENCE = 30_000
CONTACT = "the helpdesk <help@example.org>"
SETTINGS = f"""
c.OllamaServer.page_contact = {CONTACT!r}
c.HubOAuth.cache_max_age = 1
"""
OF_THE_HUB = f"""
c.JupyterHub.template_paths = [{str(EXAMPLES / "templates")!r}]
c.JupyterHub.template_vars = {{"ollama_contact": {CONTACT!r}}}
"""


@pytest.fixture
def jp_asyncio_loop() -> None:
    """Replace the event loop of each test: the browser's loop is always running."""


@pytest.fixture
def jp_server_cleanup() -> None:
    """Replace the cleanup that needs that loop."""


@pytest.fixture(scope="module")
def hub(hub_folder: Path, hub_models: Path) -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch:
        configure = Hub.configure

        def with_contact(self: Hub, example: str) -> None:
            configure(self, example)
            endpoint = Path(self.own["JUPYTER_CONFIG_DIR"]) / "jupyter_ollama_config.py"
            for config, more in (
                (endpoint, SETTINGS),
                (self.folder / "jupyterhub_config.py", OF_THE_HUB),
            ):
                config.write_text(config.read_text() + more)

        patch.setattr(Hub, "configure", with_contact)
        with running_hub("managed", hub_folder, hub_models) as running:
            running.wait_for(f"{running.url}{API}/api/version")
            yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with chromium() as browser:
        yield browser
    expect.set_options(timeout=5000)


@contextmanager
def logged_in(browser: Browser, hub: Hub, user: str) -> Iterator[tuple[Page, Response | None]]:
    """Open the page as a browser that has no cookie yet, and log in where the Hub asks for it."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(hub.url + SERVICE)
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    with page.expect_navigation() as navigation:
        page.get_by_role("button", name="Sign in").click()
    yield page, navigation.value
    context.close()


def test_clients_get_what_they_got_before(hub: Hub) -> None:
    with hub.client(None) as anonymous, hub.client(hub.token("alice")) as alice:
        for accept in ("*/*", "application/json"):
            answer = anonymous.get(SERVICE, headers={"Accept": accept})
            assert (answer.status_code, answer.text) == (200, "ok")
        assert alice.get(API, headers={"Accept": "text/html"}).text == "Ollama is running"
        assert alice.get(API).text == "Ollama is running"


def test_an_administrator(hub: Hub, browser: Browser) -> None:
    with logged_in(browser, hub, "root") as (page, _):
        expect(page.locator("#state")).to_have_text("Live")
        assert page.url.startswith(hub.url + SERVICE)
        models = page.get_by_role("table", name="Models")
        expect(models.get_by_role("row").filter(has_text="smollm2")).to_contain_text("at rest")
        models.get_by_role("button", name="Load smollm2:latest").click()
        expect(models.get_by_role("row").filter(has_text="smollm2")).to_contain_text("loaded")
        page.get_by_role("button", name="Drain", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        expect(page.locator("#state")).to_have_text("Draining")
        with hub.client(hub.token("root")) as root:
            assert root.get(f"{API}/admin/requests").json()["draining"]
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#state")).to_have_text("Live")
        # A cookie alone changes nothing: the page proves itself with each change.
        status = page.evaluate(
            "path => fetch(path, {method: 'PUT'}).then(answer => answer.status)",
            f"{API}/admin/drain",
        )
        assert status == 403
        wrong = page.evaluate(
            """path => fetch(path, {method: 'PUT', headers: {'X-XSRFToken': 'guessed'}})
            .then(answer => answer.status)""",
            f"{API}/admin/drain",
        )
        assert wrong == 403
        expect(page.locator("#state")).to_have_text("Live")


def test_a_member_until_the_access_ends(hub: Hub, browser: Browser) -> None:
    with hub.client(hub.token("bob")) as bob:
        assert bob.post(f"{API}/api/generate", json=STORY | {"stream": False}).is_success
    with logged_in(browser, hub, "alice") as (page, _):
        expect(page.locator("#state")).to_have_text("Live")
        names = page.get_by_role("tab").all_inner_texts()
        assert names == ["My usage", "Models", "Connect"]
        assert "bob" not in page.content()
        cookies = {one["name"]: one["value"] for one in page.context.cookies(hub.url + SERVICE)}
        with httpx2.Client(base_url=hub.url, cookies=cookies, trust_env=False) as client:
            with client.stream("GET", f"{API}/page/changes") as answer:
                seen = json.loads(next(answer.iter_lines()))["all"]
            assert set(seen["users"]) == {"alice"}
            assert client.get(f"{API}/admin/requests").status_code == 403
        group = {"users": ["alice"]}
        hub.api("DELETE", "/groups/ollama-users/users", group)
        try:
            page.wait_for_timeout(2000)
            answer = page.reload()
            assert answer is not None
            assert answer.status == 403
            expect(page.get_by_role("heading", name="You have no access")).to_be_visible()
            expect(page.get_by_text(CONTACT)).to_be_visible()
        finally:
            hub.api("POST", "/groups/ollama-users/users", group)


def test_an_outsider(hub: Hub, browser: Browser) -> None:
    with logged_in(browser, hub, "carol") as (page, answer):
        assert answer is not None
        assert answer.status == 403
        assert page.locator("#tabs").count() == 0
        expect(page.get_by_role("heading", name="403")).to_be_visible()
        expect(page.get_by_text(CONTACT)).to_be_visible()
    token = hub.token("carol")
    with hub.client(token) as carol:
        refused = carol.get(SERVICE, headers={"Accept": "text/html"})
        assert refused.status_code == 403
        assert "the helpdesk &lt;help@example.org&gt;" in refused.text
        assert token not in refused.text
        assert carol.get(f"{API}/page/changes").status_code == 403
