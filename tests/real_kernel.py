"""A kernel process that a test drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Kernel:
    """A real kernel and its published messages."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager = manager
        self.client = client

    def run(
        self, code: str, during: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
        """Run a cell, calling ``during`` meanwhile; return (reply, [(message type, content)])."""
        request = self.client.execute(code)
        during()
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["content"].get("execution_state") == "idle":
                break
            if message["msg_type"] not in ("status", "execute_input"):
                messages.append((message["msg_type"], message["content"]))
        while True:
            reply = self.client.get_shell_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"], messages
