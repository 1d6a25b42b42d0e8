"""The chat widget in JupyterLab: input, stopping, display."""

from __future__ import annotations

import browser_models
import pytest
from jupyterlab_page import Notebook, use_theme, wait_until
from playwright.sync_api import FloatRect, Locator, expect

CHAT = "from jupyter_ollama_magics.widgets import Chat\n\nchat = Chat({})\nchat"
QUESTION = "Your question."


def open_chat(notebook: Notebook, arguments: str, *cells: str) -> Locator:
    notebook.create(CHAT.format(arguments), *cells)
    notebook.run(0)
    chat = notebook.chat()
    chat.wait_for()
    return chat


def ask(chat: Locator, text: str) -> None:
    chat.get_by_label(QUESTION).fill(text)
    chat.get_by_label(QUESTION).press("Enter")


def growing(chat: Locator) -> None:
    """Wait until text has been added to an answer three times."""
    answer = chat.get_by_label("Answer", exact=True).last
    lengths: set[int] = set()

    def has_grown() -> bool:
        lengths.add(len(answer.inner_text()))
        return len(lengths) >= 4

    wait_until(chat.page, has_grown)


def test_streams_while_cells_run_and_stops_at_once(notebook: Notebook) -> None:
    busy = "import time\nwhile chat.busy:\n    time.sleep(0.05)\nprint('ended', chat.busy)"
    chat = open_chat(notebook, '"talker"', "print(6 * 7)", busy)
    ask(chat, "Tell me a very long story.")
    growing(chat)
    # A cell runs during the answer, and the page can stop the answer while a cell runs.
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("42")
    notebook.run(2)
    growing(chat)
    chat.get_by_role("button", name="Stop the answer").click()
    expect(notebook.output(2)).to_contain_text("ended False")
    expect(chat).to_contain_text("interrupted")
    # Escape does the same.
    chat.get_by_role("button", name="Answer the last question again").click()
    growing(chat)
    chat.get_by_label(QUESTION).press("Escape")
    expect(chat).to_contain_text("interrupted")
    assert len(chat.locator(".jo-exchange").all()) == 1


def test_markdown_is_shown_without_scripts(notebook: Notebook) -> None:
    requests: list[str] = []
    notebook.page.on("request", lambda request: requests.append(request.url))
    chat = open_chat(notebook, '"coder"')
    ask(chat, "SAY")
    answer = chat.get_by_label("Answer", exact=True)
    expect(answer.locator("h2 strong")).to_have_text("bold")
    expect(answer.locator("td").first).to_have_text("one")
    expect(answer).to_contain_text('<img src=x onerror="window.hacked=1">')
    code = answer.locator("pre code")
    expect(code).to_contain_text("answer = 6 * 7  # <b>no tag</b>")
    assert answer.locator("img, script, svg, style, iframe").count() == 0
    links = [link.get_attribute("href") for link in answer.locator("a").all()]
    assert links == [None, "https://example.org/", "http://127.0.0.1:9/p.png"]
    assert notebook.page.evaluate("window.hacked") is None
    assert not [url for url in requests if not url.startswith((notebook.server.url, "blob:"))]
    chat.get_by_role("button", name="Copy code").click()
    expect(chat.get_by_role("button", name="Copy code")).to_have_text("Copied")
    copied = notebook.page.evaluate("navigator.clipboard.readText()")
    assert copied == "answer = 6 * 7  # <b>no tag</b>\n"


def test_formulas_are_drawn_and_code_has_colours(notebook: Notebook) -> None:
    requests: list[str] = []
    notebook.page.on("request", lambda request: requests.append(request.url))
    chat = open_chat(notebook, '"teacher"')
    ask(chat, "SAY")
    answer = chat.get_by_label("Answer", exact=True)
    expect(chat.get_by_role("button", name="Copy the answer")).to_be_visible()
    expect(answer.locator("math")).to_have_count(4)
    expect(answer.locator("p").first).to_contain_text("it costs $5 to $6, $HOME aside.")
    expect(answer.locator("p math mfrac")).to_have_text("an")
    apart = answer.locator("math[display=block]")
    expect(apart.first).to_have_text("a+b=(12)")
    assert apart.first.locator("mtd").count() == 2
    assert box(apart.first.locator("mi").first)["x"] - box(answer)["x"] > 100, "not in the middle"
    expect(answer.locator("td math")).to_have_text("\N{GREEK SMALL LETTER ALPHA}")
    # Invalid formulas are shown as typed, and send no request.
    expect(answer.locator("code.jo-tex")).to_have_text(
        [
            r"\nosuch{x}",
            r"\href{javascript:window.hacked=5}{x}",
            r"\includegraphics{http://127.0.0.1:9/p.png}",
        ]
    )
    assert answer.locator("a, img, script, style").count() == 0
    assert not [url for url in requests if not url.startswith((notebook.server.url, "blob:"))]
    code = answer.locator("pre code")
    expect(code).to_have_text(['def double(x):  # <b>no tag</b>\n    return "$a$"\n', "return 1\n"])
    kinds = ["keyword", "title", "comment", "string"]
    colours = {colour(code.first.locator(f".hljs-{kind}").first) for kind in kinds}
    assert len(colours | {colour(code.first)}) == 5
    assert code.last.locator("span").count() == 0
    # Another chat of the page uses the loaded renderer.
    notebook.run(0)
    ask(chat, "SAY")
    expect(answer.locator("math")).to_have_count(4)


def colour(node: Locator) -> str:
    """Return the colour of a node's text."""
    return str(node.evaluate("node => getComputedStyle(node).color"))


def box(node: Locator) -> FloatRect:
    """Return the position of a node on the page, in pixels."""
    found = node.bounding_box()
    assert found
    return found


def test_keys_models_and_thinking(notebook: Notebook) -> None:
    chat = open_chat(notebook, '"smollm2"', "print('never run')")
    box = chat.get_by_label(QUESTION)
    picker = chat.get_by_label("Model", exact=True)
    expect(picker.locator("option")).to_have_text(
        [
            "coder",
            "comma",
            "editor",
            "filler",
            "liner",
            "seeing",
            "smollm2",
            "talker",
            "teacher",
            "thinker",
        ]
    )
    picker.select_option("thinker")
    box.fill("one")
    box.press("Shift+Enter")
    # Shortcut keys of the notebook are plain letters here.
    box.press_sequentially("dd bb")
    assert box.input_value() == "one\ndd bb"
    assert notebook.page.locator(".jp-Cell").count() == 2
    expect(notebook.output(1)).not_to_contain_text("never")
    box.press("Enter")
    answer = chat.get_by_label("Answer", exact=True)
    expect(answer).to_have_text(browser_models.ANSWER)
    expect(chat.get_by_label("You", exact=True)).to_have_text("one\ndd bb")
    thought = chat.locator("details").get_by_text(browser_models.THOUGHT)
    expect(thought).to_be_hidden()
    chat.get_by_text("Thinking").click()
    expect(thought).to_be_visible()
    # Enter on a button presses it, and does not go to a cell.
    chat.get_by_role("button", name="Start a new conversation").press("Enter")
    expect(answer).to_have_count(0)


def test_an_image_is_dropped(notebook: Notebook) -> None:
    chat = open_chat(
        notebook,
        '"smollm2", options={"num_predict": 4}',
        "import base64\nimage = base64.b64decode(chat.messages[0]['images'][0])\nprint(image[:4])",
    )
    drop(chat)
    expect(chat.get_by_role("status")).to_have_text("smollm2 does not see images.")
    chat.get_by_label("Model", exact=True).select_option("seeing")
    expect(chat.get_by_role("button", name="Add an image")).to_be_visible()
    drop(chat)
    expect(chat.get_by_alt_text("Image to send")).to_be_visible()
    ask(chat, "What is it?")
    expect(chat.locator(".jo-asked img")).to_be_visible()
    expect(chat.get_by_role("button", name="Copy the answer")).to_be_visible()
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text(r"b'\x89PNG'")


def drop(chat: Locator) -> None:
    """Drop an image file, drawn by the page, onto the chat."""
    chat.evaluate(
        """async (node) => {
            const canvas = new OffscreenCanvas(32, 32);
            canvas.getContext("2d").fillRect(8, 8, 16, 16);
            const transfer = new DataTransfer();
            const file = new File([await canvas.convertToBlob()], "p.png", {type: "image/png"});
            transfer.items.add(file);
            node.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
        }"""
    )


@pytest.mark.parametrize("close", [False, True])
def test_a_saved_notebook_keeps_the_conversation(notebook: Notebook, close: bool) -> None:
    chat = open_chat(notebook, '"coder"', "chat.close()")
    ask(chat, "SAY")
    expect(chat.get_by_role("button", name="Copy the answer")).to_be_visible()
    kept = notebook.output(0).locator(".jp-RenderedMarkdown")
    expect(kept).to_be_hidden()
    if close:
        notebook.run(1)
    else:
        notebook.save()
        notebook.end_kernel()
        notebook.open()
        expect(notebook.output(0)).not_to_contain_text("Loading")
        expect(notebook.output(0).get_by_text("Error displaying widget")).to_be_hidden()
    expect(kept.locator("h2")).to_contain_text("Heading with bold")
    expect(kept).to_contain_text("answer = 6 * 7")
    expect(chat).to_have_count(0)
    assert notebook.page.evaluate("window.hacked") is None


def test_colours_follow_the_theme(notebook: Notebook) -> None:
    use_theme(notebook.server, "Dark")
    chat = open_chat(notebook, '"coder"')
    ask(chat, "SAY")
    expect(chat.get_by_role("button", name="Copy the answer")).to_be_visible()
    for node in (chat, chat.get_by_label(QUESTION), chat.get_by_label("Model", exact=True)):
        back, text = (brightness(node, name) for name in ("backgroundColor", "color"))
        assert back < 60
        assert text > 180


def brightness(node: Locator, name: str) -> float:
    """Return the brightness of a colour of a node, from 0 to 255."""
    colour = node.evaluate(f"node => getComputedStyle(node).{name}")
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3


def test_leaving_the_page_ends_the_answer(notebook: Notebook) -> None:
    wait = "import time\nend = time.monotonic() + 20\nwhile chat.busy and time.monotonic() < end:\n"
    wait += "    time.sleep(0.1)\nprint(chat.exchanges[-1]['note'])"
    chat = open_chat(notebook, '"talker"', wait)
    ask(chat, "Tell me a very long story.")
    growing(chat)
    notebook.cell(0).locator(".cm-content").click()
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("d")
    notebook.page.keyboard.press("d")
    expect(chat).to_have_count(0)
    notebook.run(0)
    expect(notebook.output(0)).to_contain_text("interrupted")
