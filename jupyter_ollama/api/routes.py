"""Every path of the API, its endpoints, and the right that each of them needs."""

from __future__ import annotations

from . import blobs, chat, create, embed, generate, meta, models, not_yet
from .endpoint import Endpoint, Route

_root = Endpoint(meta.root, "read", "ollama", tracked=False)
_version = Endpoint(meta.version, "read", "ollama", tracked=False)
_tags = Endpoint(models.tags, "read", "ollama", tracked=False)
_ps = Endpoint(models.ps, "read", "ollama", tracked=False)
_show = Endpoint(models.show, "read", "ollama", tracked=False)
_copy = Endpoint(models.copy, "write", "ollama:models")
_delete = Endpoint(models.delete, "write", "ollama:models")
_create = Endpoint(create.create, "write", "ollama:models")
_has_blob = Endpoint(blobs.head, "read", "ollama:models")
_upload = Endpoint(blobs.upload, "write", "ollama:models", open_body=blobs.open_upload)
_generate = Endpoint(generate.generate, "execute", "ollama:run")
_chat = Endpoint(chat.chat, "execute", "ollama:run")
_embed = Endpoint(embed.embed, "execute", "ollama:run")
_embeddings = Endpoint(embed.embeddings, "execute", "ollama:run")
_pull = Endpoint(not_yet.pull, "write", "ollama:models")
_push = Endpoint(not_yet.push, "write", "ollama:models")
_openai = Endpoint(not_yet.openai, "execute", "ollama:run")

ROUTES: tuple[Route, ...] = (
    Route("", {"GET": _root, "HEAD": _root}),
    Route("/api/version", {"GET": _version, "HEAD": _version}),
    Route("/api/tags", {"GET": _tags, "HEAD": _tags}),
    Route("/api/ps", {"GET": _ps}),
    Route("/api/show", {"POST": _show}),
    Route("/api/copy", {"POST": _copy}),
    Route("/api/delete", {"DELETE": _delete}),
    Route("/api/create", {"POST": _create}),
    Route("/api/blobs/([^/]+)", {"HEAD": _has_blob, "POST": _upload}),
    Route("/api/generate", {"POST": _generate}),
    Route("/api/chat", {"POST": _chat}),
    Route("/api/embed", {"POST": _embed}),
    Route("/api/embeddings", {"POST": _embeddings}),
    Route("/api/pull", {"POST": _pull}),
    Route("/api/push", {"POST": _push}),
    *(Route(f"/v1/{path}", {"GET": _openai, "POST": _openai}) for path in not_yet.OPENAI_PATHS),
)
