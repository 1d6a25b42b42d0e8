"""The built-in renderers against Ollama's prompts for the same conversations.

One renderer alone: ``pytest tests/prompt/test_prompt_renderers.py -k "[qwen3.5]"``.
"""

from typing import Any

import msgspec
import pytest
from recorded_renderers import NAMES, RANDOM, recorded, right, today

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.messages import Message
from jupyter_ollama.prompt.renderers.renderer import Renderer
from jupyter_ollama.prompt.renderers.table import RENDERERS


def conversation(request: dict[str, Any]) -> list[Message]:
    """Return the messages of a request to ``/api/chat`` or ``/api/generate``."""
    messages = request.get("messages")
    if messages is None:
        user = {"role": "user", "content": request["prompt"], "images": request.get("images", [])}
        system = request.get("system")
        messages = ([{"role": "system", "content": system}] if system else []) + [user]
    return msgspec.convert(messages, list[Message])


def render(name: str, case: dict[str, Any]) -> str:
    """Render a case, ``error: ...`` if the renderer refuses it."""
    request = case["request"]
    try:
        return Renderer(name).render(
            conversation(request), request.get("tools", []), case["think_given_to_renderer"]
        )
    except TemplateError as error:
        return f"error: {error}"


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_those_of_ollama(name: str) -> None:
    """Each recorded conversation yields the same text, byte for byte."""
    cases = [case for case in recorded(name) if "think_given_to_renderer" in case]
    assert len(cases) > 50
    compare([(case["name"], render(name, case), right(case, alone=True)) for case in cases])


@pytest.mark.parametrize("name", NAMES)
def test_renders_random_conversations_as_ollama_does(name: str) -> None:
    """Roles in any order, odd schemas and values, tags inside texts: byte for byte as well."""
    results = []
    for number, case in enumerate(recorded(RANDOM)):
        if name in case["rendered"]:  # absent where Ollama's own text varies from run to run
            case |= {"think_given_to_renderer": case["request"]["think"]}
            text = today(case["rendered"][name])
            results.append((f"conversation {number}", render(name, case), [text]))
    assert len(results) > 30
    compare(results)


def compare(results: list[tuple[str, str, list[str]]]) -> None:
    """Fail if a text is none of its right texts; show the first three."""
    wrong = [(case, text, right[0]) for case, text, right in results if text not in right]
    if wrong:
        first = "\n\n".join(describe(*case) for case in wrong[:3])
        pytest.fail(f"{len(wrong)} of {len(results)} cases differ\n{first}", pytrace=False)


def describe(case: str, rendered: str, right: str) -> str:
    """Describe the first difference of two texts."""
    pairs = zip(rendered, right, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(rendered), len(right)))
    begin = max(0, place - 60)
    return (
        f"{case}: from character {place} on\n"
        f"  ours   {rendered[begin : place + 120]!r}\n"
        f"  Ollama {right[begin : place + 120]!r}"
    )


def test_every_renderer_has_recorded_cases() -> None:
    """The table has exactly the recorded renderers."""
    assert sorted(RENDERERS) == NAMES
