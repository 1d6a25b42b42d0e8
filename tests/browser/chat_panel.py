"""What tests do in the chat panel of JupyterLab."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def open_chat(page: Page, model: str = "") -> Locator:
    """Show the chat, with a model if one is named."""
    chat = page.locator("#jupyter-ollama-chat")
    if not chat.is_visible():
        page.locator('[data-id="jupyter-ollama-chat"]').click()
    if model:
        chat.get_by_role("combobox", name="Model").select_option(f"{model}:latest")
    return chat


def ask(chat: Locator, text: str) -> None:
    """Type a question and send it."""
    chat.get_by_role("textbox", name="Your question").fill(text)
    chat.get_by_role("textbox", name="Your question").press("Enter")


def answered(chat: Locator) -> None:
    """Wait until the last answer is complete."""
    expect(chat.get_by_role("button", name="Regenerate")).to_be_visible()


def show_list(chat: Locator) -> Locator:
    """Show the list of conversations; return its rows."""
    chat.get_by_role("button", name="Conversations").click()
    return chat.locator(".jpo-conversations li")


def delete_all(chat: Locator) -> None:
    """Delete the conversations that other tests have left."""
    rows = show_list(chat)
    while count := rows.count():
        rows.first.get_by_role("button", name="Delete").click()
        expect(rows).to_have_count(count - 1)
    chat.get_by_role("button", name="Conversations").click()


def set_width(page: Page, chat: Locator, width: int) -> None:
    """Drag the border of the panel until it has a width in CSS pixels."""
    box = chat.bounding_box()
    assert box
    right = box["x"] + box["width"]
    page.mouse.move(box["x"] - 1, 300)
    page.mouse.down()
    page.mouse.move(right - width - 1, 300, steps=5)
    page.mouse.up()
