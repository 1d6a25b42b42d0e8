"""POST /v1/completions: continue prompts, as OpenAI's older clients ask for it."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import msgspec

from ...errors import OllamaError
from ...scheduler.remote_model import RemoteModel
from .. import generate as native
from ..endpoint import Call, Reply, Stream
from ..models import find_model
from ..request_bounds import check_choices
from ..translation import answer_fields, merged, parts, together, whole_of
from ..wire import GenerateRequest
from .answers import Part, finish_reason, head, logprobs, usage
from .options import choice_options, completion_options, default_options
from .wire import CompletionRequest


async def completions(call: Call) -> Reply | Stream:
    """Answer with the texts that go on with the prompts, whole or in chunks."""
    request = call.decode(CompletionRequest)
    prompts = _prompts(request.prompt)
    longest = max(map(len, prompts)) + len(request.suffix)
    check_choices(call.server, len(prompts) * request.n, longest)
    asked = generate_requests(request, await default_options(call, request.model))
    model = await find_model(call, request.model)
    if isinstance(model, RemoteModel) and model.completes_raw and not request.suffix:
        asked = [msgspec.structs.replace(one, raw=True) for one in asked]
    calls = [call.carrying(one) for one in asked]
    if not asked[0].stream:
        answers = await together([whole_of(native.generate, one) for one in calls])
        return Reply(completion(request, answers))
    streams = [parts(answer) for answer in await together([native.generate(c) for c in calls])]
    return _chunks(request, streams)


def generate_requests(
    request: CompletionRequest, defaults: dict[str, Any]
) -> list[GenerateRequest]:
    """Translate to requests of /api/generate, ``n`` for each prompt. Raises OllamaError(400)."""
    asked = GenerateRequest(
        model=request.model,
        suffix=request.suffix,
        stream=request.stream and not request.debug_render_only,
        options=completion_options(request, defaults, request.max_tokens),
        format=request.format,
        think=request.think,
        logprobs=request.logprobs is not None,
        top_logprobs=request.logprobs or 0,
        debug_render_only=request.debug_render_only,
        **answer_fields(request),
    )
    return [
        msgspec.structs.replace(asked, prompt=prompt, options=choice_options(asked.options, choice))
        for prompt in _prompts(request.prompt)
        for choice in range(request.n)
    ]


def _prompts(value: Any) -> list[str]:
    prompts = value if isinstance(value, list) else [value]
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise OllamaError(400, "prompt must be a string or a list of strings")
    return prompts


def completion(request: CompletionRequest, answers: list[Part]) -> dict[str, Any]:
    """Return the whole answer that Ollama's answers, one for each choice, make."""
    body = head("cmpl-", "text_completion", request.model)
    body["choices"] = [
        Texts(request, index).of(answer, finish_reason(answer))
        for index, answer in enumerate(answers)
    ]
    body["usage"] = usage(answers, request.n)
    if "_debug_info" in answers[0]:
        body["_debug_info"] = answers[0]["_debug_info"]
    return body


class Texts:
    """Turns the parts of an answer into the texts of one choice."""

    def __init__(self, request: CompletionRequest, index: int) -> None:
        prompt = _prompts(request.prompt)[index // request.n]
        self._index = index
        self._echo = prompt if request.echo else ""
        self._offset = len(prompt)

    def of(self, part: Part, reason: str | None = None) -> dict[str, Any]:
        """Return the chunk of a part, after the prompt where it is to be echoed."""
        text, self._echo = self._echo + part.get("response", ""), ""
        return {
            "text": text,
            "index": self._index,
            "logprobs": self._logprobs(part),
            "finish_reason": reason,
        }

    def _logprobs(self, part: Part) -> dict[str, Any] | None:
        """Return log-probabilities in columns, as this older API has them."""
        tokens = logprobs(part)
        if not tokens:
            return None
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token["token"])
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": [
                {top["token"]: top["logprob"] for top in token["top_logprobs"]} for token in tokens
            ],
            "text_offset": offsets,
        }


async def _chunks(request: CompletionRequest, streams: list[Stream]) -> Stream:
    chunk = head("cmpl-", "text_completion", request.model)
    if request.stream_options.include_usage:
        chunk["usage"] = None
    texts = [Texts(request, index) for index in range(len(streams))]
    ends: list[Part] = [{} for _ in streams]
    async with aclosing(merged(streams)) as answers:
        async for index, part in answers:
            reason = None
            if part.get("done"):
                ends[index] = part
                reason = finish_reason(part)
            yield chunk | {"choices": [texts[index].of(part, reason)]}
    if request.stream_options.include_usage:
        yield chunk | {"choices": [], "usage": usage(ends, request.n)}
