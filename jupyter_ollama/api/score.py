"""POST /api/score: how likely a model takes continuations of a prompt to be."""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec

from ..engine.events import Logprob, Text
from ..errors import OllamaError
from .answering import finite, logprobs_field
from .endpoint import Call, Reply
from .models import find_model
from .request_bounds import check_bytes
from .wire import KeepAlive


class ScoreRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/score. ``choices`` is another name of ``continuations``.

    With ``raw`` the texts may name special tokens, as prompts that a template has made do.
    """

    model: str = ""
    prompt: str = ""
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
    size = len(texts) * len(request.prompt) + sum(map(len, texts))
    check_bytes("prompt and continuations", size, call.server.max_tokenize_bytes)
    model = await find_model(call, request.model)
    if "completion" not in model.capabilities:
        raise OllamaError(400, f'"{request.model}" does not support score')
    async with await call.lease(model, request) as lease:
        scored = await lease.runner.score(
            request.prompt, texts, lease.num_ctx, raw=request.raw, sharing=lease.sharing
        )
    body: dict[str, Any] = {
        "model": request.model,
        "results": results(texts, scored.continuations),
        "total_duration": time.perf_counter_ns() - call.started,
    }
    if lease.load_duration:
        body["load_duration"] = lease.load_duration
    return Reply(body | {"prompt_eval_count": scored.prompt_eval_count})


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
