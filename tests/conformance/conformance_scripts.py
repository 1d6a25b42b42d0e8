"""The answers of the models "caller" and "thinker": a script for each question of the suites.

A script is chosen by a text that the last message has in it; the last name that fits wins. Marks
are added to the message when tools are offered and when thinking is off.
"""

from __future__ import annotations

import json
from typing import Any

PLAIN = "There is nothing to be called, so here is some text."
SAID = "Let me see."
THOUGHT = "Three times three times three."
NUMBER = "That makes 27."
JOKE = {"setup": "What do cats read?", "punchline": "The mews."}
PERSON = {"name": "Alan Smith", "hair_color": "blond", "height_in_meters": "1.8"}
WITH_TOOLS, UNTHINKING = " [tools]", " [no thoughts]"
NOTE = {"title": "Grüße aus Zürich", "body": "Café ☕ in 東京 — naïve résumé 🚀"}
GUESTS = [{"name": "Ana", "email": "ana@example.com"}, {"name": "Bo", "email": "bo@example.com"}]
EVENT = {
    "title": "Design review",
    "start": "2026-10-01T15:00:00Z",
    "attendees": GUESTS,
    "location": {"city": "Berlin", "room": "4.12"},
}

TEMPLATE = (
    "{# <tool_call> %s #}{%% set asked = messages[-1].content ~ ('"
    + WITH_TOOLS
    + "' if tools else '') ~ ('"
    + UNTHINKING
    + "' if enable_thinking is defined and not enable_thinking else '') %%}"
    "{%% set messages = messages[:-1] + [{'role': messages[-1].role, 'content': asked}] %%}"
)


def call(name: str, **arguments: Any) -> str:
    """Write a tool call as the Hermes and Qwen families do."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def thinking(text: str, thought: str = THOUGHT) -> str:
    """Write the thinking and then the content."""
    return f"<think>\n{thought}\n</think>\n\n{text}"


CALLER = {
    "plain": PLAIN,
    "call it [tools]": SAID + call("get_weather", city="Paris"),
    "call both [tools]": call("get_weather", city="Paris") + call("get_weather", city="Rome"),
    # langchain-ollama and langchain-tests
    "joke about cats": json.dumps(JOKE),
    "joke about cats. [tools]": call("Joke", **JOKE),
    "Alan Smith": json.dumps({"people": [PERSON]}),
    "weather today in Boston": call("get_current_weather", location="Boston"),
    "weather in San Francisco": call("get_weather", location="San Francisco, CA"),
    "magic_function(3)": call("magic_function", input=3),
    "magic_function_no_args()": call("magic_function_no_args"),
    "Pirate greeting": call("greeting_generator", answer_style="Pirate"),
    "Hello Group": call("unicode_customer", customer_name="你好啊集团", description="A company"),
    "Hello Corporation": call("unicode_customer", customer_name="こんにちは", description="One"),
    # pydantic-ai
    "joke about dogs. [tools]": call("final_result", **JOKE),
    # canitoolcall
    "weather in Paris right now": call("get_weather", city="Paris", unit="c"),
    "in Paris and in Tokyo": call("get_weather", city="Paris") + call("get_weather", city="Tokyo"),
    "What is 17 + 25": "42",
    "Create an event": call("create_event", **EVENT),
    "Save a note": call("save_note", **NOTE),
    "time is it on the server": call("get_server_time"),
    "something about Lisbon": call("get_weather", city="Lisbon"),
    "record the larger number": call("record_answer", answer="9.9"),
}

THINKER = CALLER | {
    "call it [tools]": thinking(SAID + call("get_weather", city="Paris")),
    "3^3": thinking(NUMBER),
    "4^4": thinking("That makes 256.", "Sixteen times sixteen."),
    "15 * 37": thinking("That makes 555.", "Fifteen times thirty-seven."),
    "weather in San Francisco": thinking(call("get_weather", location="San Francisco, CA")),
    "reasoning step": thinking("Summer is warm.", "Is it summer?"),
    "record the larger number": thinking(call("record_answer", answer="9.9")),
    UNTHINKING: NUMBER,
}
