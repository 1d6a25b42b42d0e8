"""Show conversations as a table; save and load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .conversation import Conversation
from .failures import OllamaMagicsError

if TYPE_CHECKING:
    import pandas as pd

    from .chat import Chats

ROLES = ("system", "user", "assistant", "tool")


def table(chats: Chats) -> pd.DataFrame:
    """Return the conversations with their numbers of turns and their first words."""
    from .table import Table

    rows = [
        {
            "conversation": name,
            "turns": sum(message["role"] == "user" for message in conversation.messages),
            "system": conversation.system,
            "begins": next((_begin(m["content"]) for m in conversation.messages), ""),
        }
        for name, conversation in chats.conversations.items()
    ]
    return Table(rows, columns=["conversation", "turns", "system", "begins"])


def save(chats: Chats, file: str) -> str:
    """Write all conversations and the model to a JSON file; return a message."""
    conversations = chats.conversations.values()
    saved = [{"name": c.name, "system": c.system, "messages": c.messages} for c in conversations]
    content = json.dumps({"model": chats.model, "conversations": saved}, ensure_ascii=False)
    path = Path(file).expanduser()
    try:
        path.write_text(content, "utf-8")
    except OSError as error:
        raise OllamaMagicsError(f"{file}: {error.strerror}.") from error
    return f"{len(saved)} conversations are in {path}."


def load(chats: Chats, file: str) -> str:
    """Read the conversations of a file that ``save`` wrote; return a message."""
    try:
        saved = json.loads(Path(file).expanduser().read_text("utf-8"))
        loaded = [_conversation(item) for item in saved["conversations"]]
        model = str(saved.get("model") or "")
    except OSError as error:
        raise OllamaMagicsError(f"{file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OllamaMagicsError(f"{file} is not a file of %ollama history save.") from error
    chats.conversations |= {conversation.name: conversation for conversation in loaded}
    chats.model = chats.model or model
    return f"Loaded {', '.join(conversation.name for conversation in loaded) or 'nothing'}."


def _conversation(item: dict[str, Any]) -> Conversation:
    messages = [dict(message) for message in item["messages"]]
    if any(m["role"] not in ROLES or not isinstance(m["content"], str) for m in messages):
        raise ValueError
    return Conversation(str(item["name"]), str(item["system"]), messages)


def _begin(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
