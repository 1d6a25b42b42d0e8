"""POST /api/score: how likely a model takes continuations of a prompt to be."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import msgspec

from ..engine.events import Logprob, Text
from ..engine.protocol import ChatPrompt
from ..errors import OllamaError
from ..prompt.messages import Message
from .answering import finite, logprobs_field
from .chat import conversation
from .endpoint import Call, Reply
from .models import find_model
from .request_bounds import check_bytes, check_messages
from .wire import KeepAlive

if TYPE_CHECKING:
    from ..library.model import Model


class ScoreRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/score. ``choices`` is another name of ``continuations``.

    The continuations follow ``prompt``, a text, or begin the message that follows ``messages``.
    With ``raw`` the texts may name special tokens, as prompts that a template has made do.
    """

    model: str = ""
    prompt: str = ""
    messages: list[Message] = []
    continuations: list[str] = []
    choices: list[str] = []
    raw: bool = False
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


async def score(call: Call) -> Reply:
    """Answer with the log-probabilities of each continuation's tokens, in their order."""
    request = call.decode(ScoreRequest)
    texts = request.continuations or request.choices
    if not texts or not all(texts):
        raise OllamaError(400, "continuations must be a list of texts, none of them empty")
    # The last tokens of a prompt depend on the text after it: each continuation is read with it.
    length = len(request.prompt) + sum(len(message.content) for message in request.messages)
    size = len(texts) * length + sum(map(len, texts))
    check_bytes("prompt and continuations", size, call.server.max_tokenize_bytes)
    if request.messages and (request.prompt or request.raw):
        raise OllamaError(400, "messages exclude prompt and raw")
    check_messages(call.server, request.messages)
    if any(message.images for message in request.messages):
        raise OllamaError(400, "score takes no images")
    model = await find_model(call, request.model)
    if "completion" not in model.capabilities:
        raise OllamaError(400, f'"{request.model}" does not support score')
    prompt = _conversation(request.messages, model) if request.messages else request.prompt
    async with await call.lease(model, request) as lease:
        scored = await lease.runner.score(
            prompt, texts, lease.num_ctx, raw=request.raw, sharing=lease.sharing
        )
    body: dict[str, Any] = {
        "model": request.model,
        "results": results(texts, scored.continuations),
        "total_duration": time.perf_counter_ns() - call.started,
    }
    if lease.load_duration:
        body["load_duration"] = lease.load_duration
    return Reply(body | {"prompt_eval_count": scored.prompt_eval_count})


def _conversation(messages: list[Message], model: Model) -> ChatPrompt:
    """Return a conversation whose next message begins with the answer: there is no thinking."""
    return ChatPrompt(
        conversation(messages, model),
        template=model.prompt_template,
        think=False if "thinking" in model.capabilities else None,
        truncate=False,
        parser=model.parser,
        renderer=model.renderer,
    )


def results(texts: list[str], found: list[list[Logprob]]) -> list[dict[str, Any]]:
    """Return the result of each continuation; the probabilities add up to 1."""
    sums = [sum(finite(token.logprob) for token in tokens) for tokens in found]
    most = max(sums)
    weights = [math.exp(total - most) for total in sums]
    whole = sum(weights)
    return [
        {
            "index": index,
            "continuation": text,
            "probability": weights[index] / whole,
            "logprob": sums[index],
            "mean_logprob": sums[index] / len(found[index]),
            "token_count": len(found[index]),
            **logprobs_field(Text(0, logprobs=found[index])),
        }
        for index, text in enumerate(texts)
    ]
