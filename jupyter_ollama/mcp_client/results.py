"""What the tools of MCP servers are and answer, in the form of this API, with bounds."""

from __future__ import annotations

import json
from typing import Any

from ..errors import one_line

_LONGEST_DESCRIPTION = 4096
_LARGEST_SCHEMA = 65_536


def wire(message: Any) -> dict[str, Any]:
    """Return a message as MCP's JSON has it; the names of attributes differ between versions."""
    fields: dict[str, Any] = message.model_dump(by_alias=True, mode="json")
    return fields


def described_tool(tool: dict[str, Any]) -> dict[str, Any] | None:
    """Return name, description and parameters of a tool; None if its schema is too large."""
    schema = tool.get("inputSchema") or {"type": "object", "properties": {}}
    if len(json.dumps(schema)) > _LARGEST_SCHEMA:
        return None
    description = (tool.get("description") or "")[:_LONGEST_DESCRIPTION]
    return {"name": tool["name"], "description": description, "parameters": schema}


def described_result(result: dict[str, Any], longest: int) -> dict[str, Any]:
    """Return the result of a call as text of at most ``longest`` characters.

    Pictures and sounds are named, not sent: a model takes them as ``images`` of a message only.
    """
    texts = [_text(block) for block in result.get("content") or []]
    structured = result.get("structuredContent")
    if not any(texts) and structured is not None:
        texts = [json.dumps(structured, ensure_ascii=False)]
    text = "\n".join(texts)
    cut = len(text) > longest
    if cut:
        text = f"{text[:longest]}\n… (cut: {longest} of {len(text)} characters)"
    return {"content": text, "is_error": bool(result.get("isError")), "truncated": cut}


def _text(block: dict[str, Any]) -> str:
    kind = str(block.get("type"))
    if kind == "text":
        return str(block["text"])
    if kind in ("image", "audio"):
        size = len(block.get("data") or "") * 3 // 4
        return f"[{kind}, {one_line(block.get('mimeType'))}, {size} bytes]"
    if kind == "resource":
        resource = block["resource"]
        return str(resource.get("text") or f"[resource {one_line(resource.get('uri'))}]")
    if kind == "resource_link":
        return f"[resource {one_line(block.get('uri'))}]"
    return f"[{one_line(kind)}]"
