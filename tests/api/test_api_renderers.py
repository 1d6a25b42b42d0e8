"""Models whose config names a built-in renderer or a parser, behind the real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_vision
from api_client import Fetch
from api_client import answer as ask
from recorded_renderers import NAMES, PARSERS, SERVER, recorded, right
from scripted_model import write_scripts
from store_models import add_model

from jupyter_ollama._version import OLLAMA_API_VERSION
from jupyter_ollama.library.library import Library
from jupyter_ollama.parsing import parsers
from jupyter_ollama.prompt.messages import Message

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
SCRIPT = "answer"
SEEING = ["gemma4", "qwen3.5", "qwen3-vl-thinking"]
TOOL_NAMES = "{{ range .Tools }}{{ .Function.Name }};{{ end }}{{ range .Messages }}{{ end }}"
TEMPLATE = "<<{{ .Prompt }}>>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the models of the recorded cases, by the names that they have there."""
    folder = tmp_path_factory.mktemp("renderers")
    library = Library.open(folder / "models")
    says = {SCRIPT: "Seas are warm.</think>\n\nThe Red Sea."}
    bare = write_scripts(folder / "bare.gguf", says, template=None, begins_after="\n")
    seeing = tiny_vision.write_language_model(folder / "seeing.gguf")
    projector = tiny_vision.write_projector(folder / "projector.gguf", "gemma3")
    jinja = write_scripts(folder / "jinja.gguf", says, template=CHATML)
    for name in NAMES:
        formats = {"renderer": name, "parser": PARSERS.get(name, name)}
        add_model(library, f"r-{name}", bare, **formats)
        add_model(library, f"n-{name}", bare, renderer=name)
        add_model(
            library,
            f"m-{name}",
            bare,
            system="From the Modelfile.",
            messages=[
                Message("user", "A colour?"),
                Message("assistant", "Green."),
            ],
            **formats,
        )
    for name in SEEING:
        add_model(library, f"v-{name}", seeing, projector, renderer=name, parser=name)
    for parser in parsers.PARSERS:
        add_model(library, f"p-{parser}", bare, parser=parser)
        add_model(library, f"pj-{parser}", jinja, parser=parser)
    for case in recorded(SERVER):
        if case["model"].startswith("g4-"):
            add_model(library, case["model"], bare, renderer="gemma4", parser="gemma4")
    qwen = {"renderer": "qwen3.5", "parser": "qwen3.5"}
    add_model(library, "x-template", bare, template=TEMPLATE, **qwen)
    add_model(library, "x-jinja", jinja, **qwen)
    add_model(library, "x-none", bare)
    add_model(library, "x-jinja-only", jinja)
    add_model(library, "x-harmony", bare, template=TOOL_NAMES, parser="harmony")
    add_model(library, "x-renderer", bare, renderer="no-such", parser="qwen3.5", requires="0.33.0")
    add_model(library, "x-parser", bare, renderer="qwen3.5", parser="no-such", requires="0.33.0")
    return folder / "models"


@pytest.fixture
def models_dir(store: Path) -> Path:
    return store


def expected(case: dict[str, Any]) -> list[str]:
    """Return the right texts for a case; our errors name models as they were typed."""
    full = r"registry\.ollama\.ai/library/(\S+):latest does"
    return [re.sub(full, r'"\1" does', text) for text in right(case)]


async def render(fetch: Fetch, path: str, body: dict[str, Any]) -> tuple[str, int, int]:
    """Return the text of a prompt, or ``error: ...``, its images and the status."""
    response = await fetch("POST", path, body | {"_debug_render_only": True, "stream": False})
    answer = json.loads(response.body)
    if response.code != 200:
        return f"error: {answer['error']}", 0, response.code
    info = answer["_debug_info"]
    # The token at the end selects the script of the model.
    text = info["rendered_template"].removesuffix(f"<|{SCRIPT}|>")
    return text, info.get("image_count", 0), response.code


async def rendered(fetch: Fetch, path: str, body: dict[str, Any]) -> str:
    """Return the text of a prompt, or ``error: ...``."""
    return (await render(fetch, path, body))[0]


@pytest.mark.parametrize("name", NAMES)
async def test_requests_are_rendered_as_by_ollama(standalone: Fetch, name: str) -> None:
    """Whole requests: values of ``think``, refusals, and prompts of generate."""
    wrong = []
    for case in recorded(name):
        request = case["request"]
        kind = "n" if case.get("parser") == "" else "r"
        body = request | {"model": f"{kind}-{name}", "truncate": False}
        path = case.get("api", "/api/chat")
        text, images, status = await render(standalone, path, body)
        reported = images, status
        if text not in expected(case) or reported != (
            case.get("image_count", 0),
            case.get("status", 200),
        ):
            wrong.append((case["name"], reported, text, expected(case)))
    assert not wrong


@pytest.mark.parametrize("name", SEEING)
async def test_images_are_read_where_the_renderer_puts_them(standalone: Fetch, name: str) -> None:
    wrong = []
    cases = [case for case in recorded(name) if "image_count" in case]
    assert len(cases) > 5
    for case in cases:
        body = case["request"] | {"model": f"v-{name}", "truncate": False}
        path = case.get("api", "/api/chat")
        text = await rendered(standalone, path, body)
        read = await ask(standalone, path, body | {"stream": False, "options": {"num_predict": 1}})
        if text not in right(case) or read["prompt_eval_count"] < len(text) + case["image_count"]:
            wrong.append((case["name"], text, read, right(case)))
    assert not wrong


def server_cases() -> list[dict[str, Any]]:
    return [case for case in recorded(SERVER) if case["name"] != "unknown_names"]


async def test_rules_around_renderers_are_those_of_ollama(standalone: Fetch) -> None:
    """SYSTEM and MESSAGE, values of think, precedence, names of gemma4, truncation."""
    wrong = []
    for case in server_cases():
        body = case["request"] | {"model": case["model"]}
        if case["name"] == "too_long_truncated":
            # A token is a byte here: leave as much as the recorded messages take.
            body["options"] = {"num_ctx": len(case["rendered"].encode()) + 100}
        text = await rendered(standalone, case["api"], body)
        if text not in expected(case):
            wrong.append((case["name"], case["model"], text, expected(case)))
    assert not wrong


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/v1/chat/completions"])
async def test_unknown_formats_are_named(standalone: Fetch, path: str) -> None:
    asked = (
        {"prompt": "Hi."}
        if path == "/api/generate"
        else {"messages": [{"role": "user", "content": "Hi."}]}
    )
    for kind in ("renderer", "parser"):
        response = await standalone("POST", path, asked | {"model": f"x-{kind}"})
        reported = json.loads(response.body)["error"]
        message = reported if isinstance(reported, str) else reported["message"]
        assert response.code == 500
        assert message == (
            f'unknown {kind} "no-such": this version of jupyter-ollama speaks Ollama '
            f"{OLLAMA_API_VERSION}, which does not know it; a newer version is needed "
            "(the model requires Ollama 0.33.0)"
        )


async def test_harmony_declares_tools_by_names_that_are_identifiers(standalone: Fetch) -> None:
    names = ["sea-map.lookup", "sea map lookup", "2nd", "python", "browser.open", "Île<>"]
    body = {
        "model": "x-harmony",
        "messages": [{"role": "user", "content": "Hi."}],
        "tools": [{"type": "function", "function": {"name": name}} for name in names],
    }
    text = await rendered(standalone, "/api/chat", body)
    assert text == "sea_map_lookup;sea_map_lookup_2;_2nd;python;browser.open;Île;"


async def test_raw_prompts_need_no_renderer(standalone: Fetch) -> None:
    body = {"model": "x-renderer", "prompt": "Hi.", "raw": True}
    assert await rendered(standalone, "/api/generate", body) == "Hi."


async def test_a_model_with_a_renderer_answers(standalone: Fetch) -> None:
    """The model reads the rendered prompt: its end selects the script."""
    body = {"model": "r-qwen3.5", "messages": [{"role": "user", "content": "Which sea?"}]}
    answer = await ask(standalone, "/api/chat", body | {"stream": False})
    message = answer["message"]
    assert (message["thinking"], message["content"]) == ("Seas are warm.", "The Red Sea.")
    prompt = await rendered(standalone, "/api/chat", body)
    assert answer["prompt_eval_count"] == len(prompt.encode())  # a token is a byte
