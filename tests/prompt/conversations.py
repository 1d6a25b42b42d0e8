"""Conversations and tools of the tests of templates."""

from __future__ import annotations

from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction

ASK = Message(role="user", content="Why?")
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "a < b & 'é'",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}},
    },
}
ARGUMENTS = {"a": [1, "é"], "b": {"c": True}}


def call(name: str = "add", arguments: dict | None = None, id: str = "") -> ToolCall:
    return ToolCall(ToolCallFunction(name, ARGUMENTS if arguments is None else arguments), id)


CALLS = Message(role="assistant", tool_calls=[call(id="one"), call("sub", {}, "two")])
RESULTS = [
    Message(role="tool", content="3", tool_name="add", tool_call_id="one"),
    Message(role="tool", content="4", tool_name="sub", tool_call_id="two"),
]
SYSTEM = Message(role="system", content="Be brief.")
ANSWER = Message(role="assistant", content="Because.")
AGAIN = Message(role="user", content="Really?")
CHAT = [SYSTEM, ASK, ANSWER, AGAIN]
