"""No display of an answer fetches its URLs or acts on its markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from fetching_answers import Listener, answers, listening
from jupyter_ollama_magics.formats import frame
from jupyterlab_page import Notebook, open_lab, set_up
from nbconvert import HTMLExporter
from playwright.sync_api import Locator, Page, Response, Route, expect
from run_notebook import Server

SHOW = """\
import json, pathlib
from IPython.display import display
from jupyter_ollama_magics.conversation import Conversation
from jupyter_ollama_magics.result import ChatResult
for text in json.loads(pathlib.Path({path!r}).read_text()):
    answer = ChatResult("m", {{}}, Conversation("m", ""))
    answer.add({{"message": {{"content": text}}, "done": True}})
    display(answer)
display({{"text/markdown": "# The end"}}, raw=True)
"""
CHAT = """\
import json, pathlib
from jupyter_ollama_magics.widgets import Chat
chat = Chat("m")
empty = {{"question": "?", "thumbnails": [], "thinking": "", "note": "", "error": ""}}
texts = json.loads(pathlib.Path({path!r}).read_text())
chat.exchanges = [{{**empty, "text": text}} for text in texts]
chat
"""
FRAMED = [
    "<iframe src=URL></iframe>",
    "<IFRAME/src=URL></IFRAME>",
    "<object data=URL></object><embed src=URL>",
    "<frameset><frame src=URL></frameset>",
    "<link rel=preconnect href=URL><link rel=icon href=URL><link rel=prefetch href=URL>",
    "<meta http-equiv=refresh content='0;url=URL'>",
    "<img src=URL><video poster=URL src=URL></video><svg><image href=URL /></svg>",
    "<style>@import 'URL'; body { background: url(URL) }</style>",
    "<base href=URL/><img src=b><body background=c>",
    "<script>fetch('URL')</script><svg onload=\"fetch('URL')\">",
]
ACTS = """nodes => nodes.flatMap(node => [...node.querySelectorAll('*')]).filter(node =>
    (node.href && !['http:', 'https:', 'mailto:'].includes(node.protocol))
    || (node.localName === 'a' && node.hasAttribute('href')
        && !/^(https?:\\/\\/|mailto:)/i.test(node.getAttribute('href'))
        && !/InternalAnchorLink|anchor-link/.test(node.className))
    || ['BUTTON', 'FORM', 'IFRAME', 'OBJECT', 'SCRIPT', 'LINK'].includes(node.tagName)
        && !node.closest('.jpo-code-bar, .jpo-turn-header, .jo-code, .jo-actions')
    || [...node.attributes].some(({ name }) => /^on|commandlinker/.test(name))
).map(node => node.outerHTML)"""


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A port to which no page may connect."""
    with listening() as listener:
        yield listener


@pytest.fixture
def file(listener: Listener, tmp_path: Path) -> str:
    """The path of a file with the answers."""
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(answers(listener.url)))
    return str(path)


def assert_idle(page: Page, shown: Locator, listener: Listener) -> None:
    """Check that the display is inert and has fetched nothing; a loaded image would be recorded."""
    assert shown.evaluate_all(ACTS) == []
    assert page.evaluate("window.hacked") is None
    assert listener.heard == []
    page.evaluate("url => { new Image().src = url + '/control' }", listener.url)
    page.wait_for_function("() => true")
    for _ in range(100):
        if listener.heard:
            break
        page.wait_for_timeout(100)
    assert listener.heard == ["GET /control HTTP/1.1"]
    listener.heard.clear()


@pytest.fixture
def many_outputs(lab: Server) -> Iterator[None]:
    """Have JupyterLab show all outputs of a cell."""
    set_up(lab, "notebook-extension:tracker", {"maxNumberOutputs": 1000})
    yield
    set_up(lab, "notebook-extension:tracker", {})


@pytest.mark.usefixtures("many_outputs")
def test_outputs_of_cells_saved_and_exported(
    notebook: Notebook, listener: Listener, file: str
) -> None:
    page = notebook.page
    notebook.create(SHOW.format(path=file))
    notebook.run(0)
    outputs = notebook.output(0).locator(".jp-RenderedMarkdown")
    the_end = outputs.get_by_role("heading", name="The end")
    the_end.wait_for()
    assert outputs.count() == len(answers("")) + 1
    assert_idle(page, outputs, listener)
    saved = notebook.save()
    notebook.end_kernel()
    notebook.open()
    the_end.wait_for()
    assert_idle(page, outputs, listener)
    export(page, saved)
    assert_idle(page, page.locator(".jp-RenderedMarkdown"), listener)


def export(page: Page, notebook: dict[str, Any]) -> None:
    """Show a notebook as exported by nbconvert."""
    exported, _ = HTMLExporter().from_notebook_node(nbformat.from_dict(notebook))
    page.route("**/*", only_loopback)
    page.set_content(exported, wait_until="load")


def only_loopback(route: Route) -> None:
    """Block requests of a page to other hosts."""
    if "127.0.0.1" in route.request.url:
        route.continue_()
    else:
        route.abort()


def test_the_widget(notebook: Notebook, listener: Listener, file: str) -> None:
    notebook.create(CHAT.format(path=file))
    notebook.run(0)
    shown = notebook.chat().locator(".jo-answer")
    expect(shown).to_have_count(len(answers("")))
    assert_idle(notebook.page, shown, listener)


def test_frames_of_html(page: Page, listener: Listener) -> None:
    parts = [part.replace("URL", f"{listener.url}/x") for part in FRAMED]
    page.set_content("".join(map(frame, parts)), wait_until="load")
    assert page.locator("iframe").count() == len(FRAMED)
    assert_idle(page, page.locator("body > div"), listener)


def test_the_panel_and_its_saved_state(page: Page, lab: Server, listener: Listener) -> None:
    texts = answers(listener.url)
    turns = [{"role": "assistant", "model": "m", "content": text} for text in texts]
    open_lab(page, lab)
    workspace = {"jupyter-ollama:chat": {"model": "m", "turns": turns}}
    body = {"data": workspace, "metadata": {"id": "answers"}}
    lab.call("PUT", "/lab/api/workspaces/answers", body)
    page.goto(f"{lab.url}/lab/workspaces/answers")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    panel = page.locator("#jupyter-ollama-chat")
    if not panel.is_visible():
        page.locator('[data-id="jupyter-ollama-chat"]').click()
    shown = panel.locator(".jpo-markdown")
    expect(shown).to_have_count(len(texts))
    drawn = "xpath=.//*[contains(@class, 'jp-RenderedMarkdown')]/*[1]/.."
    expect(shown.locator(drawn)).to_have_count(len(texts))
    assert_idle(page, shown, listener)
    with page.expect_response(has_saved) as saved:
        panel.get_by_role("button", name="Save as notebook").click()
    page.locator(".jp-Notebook .jp-MarkdownOutput").first.wait_for()
    assert_idle(page, page.locator(".jp-Notebook .jp-MarkdownOutput"), listener)
    path = saved.value.json()["path"]
    export(page, lab.call("GET", f"/api/contents/{path}?content=1")["content"])
    assert_idle(page, page.locator(".jp-MarkdownOutput"), listener)


def has_saved(response: Response) -> bool:
    """Return whether the page has written a file."""
    return response.request.method == "PUT" and "/api/contents/" in response.url
