"""POST /api/tokenize and /api/detokenize: the tokens of a text in a model's vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..engine.meter import charge_text
from .endpoint import Call, Reply
from .models import find_model
from .request_bounds import check_bytes
from .wire import KeepAlive

if TYPE_CHECKING:
    from ..scheduler.lease import Lease


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/tokenize. ``text`` is another name of ``content``.

    ``add_special`` is llama-server's name of ``special``.
    """

    model: str = ""
    content: str = ""
    text: str = ""
    special: bool = True
    add_special: bool | None = None
    parse_special: bool = True
    with_pieces: bool = False
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/detokenize."""

    model: str = ""
    tokens: list[int] = []
    special: bool = False
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


async def tokenize(call: Call) -> Reply:
    """Answer with the ids of a text's tokens, and their texts if requested."""
    request = call.decode(TokenizeRequest)
    text = request.content or request.text
    check_bytes("content", len(text), call.server.max_tokenize_bytes)
    special = request.special if request.add_special is None else request.add_special
    async with await _acquire(call, request) as lease:
        found = await lease.runner.tokenize(
            text, special=special, parse_special=request.parse_special
        )
    charge_text(len(found.tokens))
    tokens: list[Any] = found.tokens
    if request.with_pieces:
        pairs = zip(found.tokens, found.pieces, strict=True)
        tokens = [{"id": token, "piece": _text_or_bytes(piece)} for token, piece in pairs]
    return Reply({"model": request.model, "tokens": tokens})


async def detokenize(call: Call) -> Reply:
    """Answer with the text of tokens."""
    request = call.decode(DetokenizeRequest)
    async with await _acquire(call, request) as lease:
        text = await lease.runner.detokenize(request.tokens, special=request.special)
    charge_text(len(request.tokens))
    return Reply({"model": request.model, "content": text})


async def _acquire(call: Call, request: TokenizeRequest | DetokenizeRequest) -> Lease:
    model = await find_model(call, request.model)
    return await call.lease(model, request)


def _text_or_bytes(piece: bytes) -> str | list[int]:
    """Return the text of a token, or its bytes where they are a part of a character."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
