"""OpenAI's parameters as Ollama's options: sampling, stops, biases, reasoning, formats."""

from __future__ import annotations

from typing import Any

from ...errors import OllamaError
from ...option_bounds import check_field
from ...scheduler.remote_model import RemoteModel
from ..endpoint import Call
from ..models import find_model
from ..translation import Extensions, native_options
from ..wire import ThinkingBudget
from .wire import CompletedRequest, SampledRequest

_EFFORTS: dict[str, bool | str | None] = {
    "": None,
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
}

GO_TYPES = {
    type(None): "<nil>",
    bool: "bool",
    int: "float64",
    float: "float64",
    str: "string",
    list: "[]interface {}",
    dict: "map[string]interface {}",
}
"""Go's names of the types of free JSON values, as in Ollama's messages."""


async def default_options(call: Call, model: str) -> dict[str, Any]:
    """Return OpenAI's defaults where the model sets none. Raises OllamaError."""
    if not model:
        raise OllamaError(400, "model is required")
    found = await find_model(call, model)
    if isinstance(found, RemoteModel):  # its own server has defaults
        return {}
    return {name: 1.0 for name in ("temperature", "top_p") if name not in found.params}


def sampling_options(
    request: SampledRequest, defaults: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    """Return the options of any request for an answer, ``fields`` among them."""
    same = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
    asked = {name: getattr(request, name) for name in same} | fields
    given = {name: value for name, value in asked.items() if value is not None}
    return native_options(request, defaults | given)


def completion_options(
    request: CompletedRequest, defaults: dict[str, Any], num_predict: int | None
) -> dict[str, Any]:
    """Return the options of a request for completions. Raises OllamaError(400)."""
    check_field("n", request.n)
    return sampling_options(
        request,
        defaults,
        num_predict=num_predict,
        seed=request.seed,
        stop=_stop(request.stop),
        logit_bias=_logit_bias(request.logit_bias) or None,
    )


def choice_options(options: dict[str, Any], choice: int) -> dict[str, Any]:
    """Return the options for one of several choices: each gets its own seed if one is given."""
    seed = options.get("seed")
    if not choice or not isinstance(seed, int) or seed < 0:
        return options
    return options | {"seed": seed + choice}


def think(
    request: Extensions, effort: str, budgets: dict[str, int]
) -> bool | str | ThinkingBudget | None:
    """Return Ollama's ``think`` for a reasoning effort. Raises OllamaError(400).

    ``budgets`` are the tokens of thinking at efforts that limit it.
    """
    if effort not in _EFFORTS:
        names = ", ".join(f'"{name}"' for name in _EFFORTS if name)
        raise OllamaError(400, f'invalid reasoning value: "{effort}" (must be one of {names})')
    if request.think is not None:
        return request.think
    level = _EFFORTS[effort]
    return ThinkingBudget(budgets[effort], level) if level and effort in budgets else level


def response_format(asked: dict[str, Any], schema: Any) -> Any:
    """Return Ollama's ``format`` for one of OpenAI's; the place of ``schema`` differs by API.

    An unknown format raises OllamaError(400), since an answer in another form is useless.
    """
    kind = str(asked.get("type", "text")).strip().lower()
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind == "json_schema":
        return schema if isinstance(schema, dict) else "json"
    raise OllamaError(400, f'invalid response format type: "{kind}"')


def _stop(value: Any) -> Any:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str) and value is not None:
            raise OllamaError(400, f"invalid type for 'stop' field: {GO_TYPES[type(item)]}")
    return value


def _logit_bias(value: dict[str, Any]) -> dict[str, float]:
    """Return {token id: bias} with the ids as texts, for that is how JSON has them."""
    for token, bias in value.items():
        if not token.isdecimal() or type(bias) not in (int, float) or not -100 <= bias <= 100:
            raise OllamaError(400, "logit_bias must map token ids to numbers between -100 and 100")
    return {token: float(bias) for token, bias in value.items()}
