"""The output of a widget in a saved notebook without a kernel."""

from __future__ import annotations

import uuid


class Snapshot:
    """A markdown output below a widget, hidden while the widget is on the page.

    Notebooks save outputs, but by default not the state of widgets.
    """

    def __init__(self) -> None:
        from IPython.display import DisplayHandle

        self.mark = f"jupyter-ollama-{uuid.uuid4().hex[:12]}"
        self._handle = DisplayHandle()
        self._displayed = False

    @property
    def style(self) -> str:
        """The CSS that hides the output. The widget carries it, so both go together."""
        return f".jp-OutputArea-child:has(.{self.mark}), .{self.mark} {{ display: none }}"

    def display(self, markdown: str) -> None:
        """Add the output to the running cell."""
        self._displayed = True
        self._handle.display(self._bundle(markdown), raw=True)

    def update(self, markdown: str) -> None:
        """Change the output, if there is one."""
        if self._displayed:
            self._handle.update(self._bundle(markdown), raw=True)

    def _bundle(self, markdown: str) -> dict[str, str]:
        # Without its kernel, a widget is one line with an error.
        alone = f".jp-OutputArea-child:has(+ .jp-OutputArea-child .{self.mark})"
        style = f"<style>{alone} > .jupyter-widgets:not(:has(*)) {{ display: none }}</style>"
        marked = f'{style}<span class="{self.mark}"></span>\n\n{markdown}'
        return {"text/plain": markdown, "text/markdown": marked}
