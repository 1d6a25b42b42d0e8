"""What a saved notebook shows of a widget when there is no kernel."""

from __future__ import annotations

import uuid


class Snapshot:
    """A markdown output below a widget, hidden for as long as the widget is on the page.

    Notebooks keep outputs, but not, unless asked to, what widgets are made of.
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
        """Add the output to the cell that runs."""
        self._displayed = True
        self._handle.display(self._bundle(markdown), raw=True)

    def update(self, markdown: str) -> None:
        """Change the output, if there is one."""
        if self._displayed:
            self._handle.update(self._bundle(markdown), raw=True)

    def _bundle(self, markdown: str) -> dict[str, str]:
        # Without its kernel, a widget is but a line that says so.
        alone = f".jp-OutputArea-child:has(+ .jp-OutputArea-child .{self.mark})"
        style = f"<style>{alone} > .jupyter-widgets:not(:has(*)) {{ display: none }}</style>"
        marked = f'{style}<span class="{self.mark}"></span>\n\n{markdown}'
        return {"text/plain": markdown, "text/markdown": marked}
