"""POST /api/generate: continue a prompt."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from ..engine.events import Text
from ..engine.protocol import ChatPrompt, RawPrompt, SuffixPrompt
from ..errors import OllamaError
from ..prompt.messages import Message
from .answering import (
    NOTHING,
    Prompt,
    Run,
    check_capabilities,
    check_ranges,
    logprobs_field,
    resolve_think,
    resolve_truncate,
)
from .endpoint import Call, Reply, Stream
from .images import decode_images, needed_capabilities, take_images
from .models import find_model, unload
from .timestamps import now_utc
from .wire import GenerateRequest

if TYPE_CHECKING:
    from ..library.model import Model


LONGEST_CHECKED = 4096
"""Characters of a template that is compiled here as well, which takes 15 µs each."""


async def generate(call: Call) -> Reply | Stream:
    """Answer with text, whole or in parts; without a prompt load or unload the model."""
    request = call.decode(GenerateRequest)
    check_ranges(request)
    if not request.model:
        raise OllamaError(404, "model '' not found")
    if not request.prompt and request.keep_alive == 0:
        await unload(call, request.model)
        return Reply(_part(request, NOTHING, {"done_reason": "unload"}))
    model = await find_model(call, request.model)
    if request.raw and (request.template or request.system or request.context):
        raise OllamaError(400, "raw mode does not support template, system, or context")
    needed = ["insert"] * bool(request.suffix) + needed_capabilities(request.images)
    think, budget = resolve_think(model, request)
    check_capabilities(model, request, "generate", needed)
    if request.template:
        await asyncio.to_thread(_check_template, request.template)
    truncate = resolve_truncate(call, request)
    prompt = await _prompt(request, model, think, budget, truncate)
    run = Run(call, request, model, prompt, not request.raw)
    return await run.answer(partial(_part, request), empty=not request.prompt)


def _part(request: GenerateRequest, text: Text, end: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "model": request.model,
        "created_at": now_utc(),
        "response": text.text,
        **({"thinking": text.thinking} if text.thinking else {}),
        "done": end is not None,
        **logprobs_field(text),
        **(end or {}),
    }


def _check_template(source: str) -> None:
    """Raise OllamaError(400) for a faulty template; a long one is compiled in the runner only."""
    if len(source) > LONGEST_CHECKED:
        return
    from ..prompt.errors import TemplateError
    from ..prompt.go_template import GoTemplate

    try:
        GoTemplate(source)
    except TemplateError as error:
        raise OllamaError(400, str(error)) from None


async def _prompt(
    request: GenerateRequest,
    model: Model,
    think: bool | str | None,
    budget: int | None,
    truncate: bool,
) -> Prompt:
    if request.raw:
        return RawPrompt(request.prompt, await decode_images(request.images))
    if request.suffix:
        template = request.template or model.suffix_template
        return SuffixPrompt(request.prompt, request.suffix, template, bool(request.template))
    messages: list[Message] = []
    if system := request.system or model.system:
        messages.append(Message("system", system))
    if not request.context:
        messages += model.messages
    messages.append(Message("user", request.prompt, images=request.images))
    taken, images = await take_images(messages)
    return ChatPrompt(
        taken,
        template=request.template or model.prompt_template,
        think=think,
        thinking_budget=budget,
        context=request.context,
        truncate=truncate,
        parser=model.parser,
        images=images,
        renderer="" if request.template else model.renderer,
        is_template_foreign=bool(request.template),
    )
