"""The kernel of a notebook: run code in it, and look at a variable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jupyter_core.utils import ensure_async
from nbformat.v4 import output_from_msg

from .access import Access, ToolError

_READY_SECONDS = 60.0
_INSPECT_SECONDS = 10.0
_OUTPUTS = ("stream", "display_data", "execute_result", "error")


async def run(access: Access, path: str, code: str) -> tuple[list[dict[str, Any]], int | None, str]:
    """Run code in the kernel of a notebook, which starts if need be.

    Returns the outputs, the execution count, and "ok", "error" or "timeout": then the kernel was
    interrupted.
    """
    kernel_id = await _kernel_of(access, path, start=True)
    outputs: list[dict[str, Any]] = []
    count: int | None = None
    clear_later = False

    def take(message: dict[str, Any]) -> None:
        nonlocal clear_later, count
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "execute_input":
            count = content.get("execution_count")
        elif kind == "clear_output":
            clear_later = bool(content.get("wait"))
            if not clear_later:
                outputs.clear()
        elif kind in _OUTPUTS:
            if clear_later:
                outputs.clear()
                clear_later = False
            _add(outputs, dict(output_from_msg(message)))

    async with _client(access, kernel_id) as client:
        running = client.execute_interactive(
            code, allow_stdin=False, stop_on_error=True, output_hook=take
        )
        try:
            async with asyncio.timeout(access.settings.notebook_tool_seconds):
                reply = await running
        except (TimeoutError, asyncio.CancelledError) as error:
            kernels: Any = access.serverapp.kernel_manager
            await ensure_async(kernels.interrupt_kernel(kernel_id))
            if isinstance(error, asyncio.CancelledError):
                raise
            return outputs, count, "timeout"
    return outputs, count, reply["content"]["status"]


async def inspect(access: Access, path: str, name: str) -> str:
    """Return what the kernel of a notebook says about a variable. Raises ToolError."""
    kernel_id = await _kernel_of(access, path, start=False)
    async with _client(access, kernel_id) as client:
        try:
            reply = await client.inspect(name, reply=True, timeout=_INSPECT_SECONDS)
        except TimeoutError as error:
            raise ToolError("the kernel is busy") from error
    content = reply["content"]
    if content.get("status") != "ok" or not content.get("found"):
        raise ToolError(f"the kernel has no variable {name}")
    return str(content["data"].get("text/plain", ""))


def _add(outputs: list[dict[str, Any]], output: dict[str, Any]) -> None:
    """Append an output; the text of a stream continues the one before, as in a notebook."""
    last = outputs[-1] if outputs else {}
    kinds = {output["output_type"], last.get("output_type")}
    if kinds == {"stream"} and output["name"] == last["name"]:
        last["text"] += output["text"]
    else:
        outputs.append(output)


async def _kernel_of(access: Access, path: str, *, start: bool) -> str:
    """Return the id of the kernel of a notebook. Raises ToolError without one."""
    sessions = access.serverapp.session_manager
    path = path.strip("/")
    for session in await ensure_async(sessions.list_sessions()):
        if session["path"] == path:
            return str(session["kernel"]["id"])
    if not start:
        raise ToolError(f"{path} has no running kernel")
    name = path.rpartition("/")[2]
    session = await ensure_async(
        sessions.create_session(path=path, name=name, type="notebook", kernel_name=None)
    )
    return str(session["kernel"]["id"])


@asynccontextmanager
async def _client(access: Access, kernel_id: str) -> AsyncIterator[Any]:
    """Yield a client of a kernel that is ready. Raises ToolError if it does not start."""
    client = access.serverapp.kernel_manager.get_kernel(kernel_id).client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=_READY_SECONDS)
        yield client
    except RuntimeError as error:
        raise ToolError(f"the kernel does not start: {error}") from error
    finally:
        client.stop_channels()
