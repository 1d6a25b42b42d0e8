"""Every path of the API, its endpoints, and the right that each of them needs."""

from __future__ import annotations

from . import (
    admin,
    admin_limits,
    blobs,
    chat,
    create,
    embed,
    generate,
    mcp,
    meta,
    models,
    openapi,
    requests,
    rerank,
    score,
    tokens,
    transfer,
    usage,
    web,
    wire,
)
from .anthropic import messages
from .anthropic import wire as anthropic_wire
from .anthropic.wire import ANTHROPIC
from .endpoint import Endpoint, Route
from .openai import audio, batches, completions, embeddings, files, responses
from .openai import chat as openai_chat
from .openai import models as openai_models
from .openai import wire as openai_wire
from .openai.wire import OPENAI, RESPONSES

_root = Endpoint(meta.root, "read", "ollama", tracked=False)
_version = Endpoint(meta.version, "read", "ollama", tracked=False)
_devices = Endpoint(meta.devices, "read", "ollama", tracked=False)
_status = Endpoint(meta.status, "read", "ollama", tracked=False)
_me = Endpoint(meta.me, "read", "ollama", tracked=False)
_signout = Endpoint(meta.signout, "read", "ollama", tracked=False)
_recommendations = Endpoint(meta.recommendations, "read", "ollama", tracked=False)
_openapi_json = Endpoint(openapi.as_json, "read", "ollama", tracked=False)
_openapi_yaml = Endpoint(openapi.as_yaml, "read", "ollama", tracked=False)
_tags = Endpoint(models.tags, "read", "ollama", tracked=False)
_ps = Endpoint(models.ps, "read", "ollama", tracked=False)
_show = Endpoint(models.show, "read", "ollama", tracked=False, request=wire.ShowRequest)
_copy = Endpoint(models.copy, "write", "ollama:models", request=wire.CopyRequest)
_delete = Endpoint(models.delete, "write", "ollama:models", request=wire.DeleteRequest)
_create = Endpoint(create.create, "write", "ollama:models")
_has_blob = Endpoint(blobs.head, "read", "ollama:models")
_upload = Endpoint(blobs.upload, "write", "ollama:models", open_body=blobs.open_upload)
_generate = Endpoint(generate.generate, "execute", "ollama:run", request=wire.GenerateRequest)
_chat = Endpoint(chat.chat, "execute", "ollama:run", request=wire.ChatRequest)
_embed = Endpoint(embed.embed, "execute", "ollama:run", request=wire.EmbedRequest)
_embeddings = Endpoint(embed.embeddings, "execute", "ollama:run", request=wire.EmbeddingRequest)
_tokenize = Endpoint(tokens.tokenize, "execute", "ollama:run", request=tokens.TokenizeRequest)
_detokenize = Endpoint(tokens.detokenize, "execute", "ollama:run", request=tokens.DetokenizeRequest)
_score = Endpoint(score.score, "execute", "ollama:run", request=score.ScoreRequest)
_rerank = Endpoint(rerank.rerank, "execute", "ollama:run", request=rerank.RerankRequest)
_rerank_v1 = Endpoint(rerank.rerank_v1, "execute", "ollama:run", request=rerank.RerankRequest)
_cancel = Endpoint(requests.cancel, "execute", "ollama:run", tracked=False)
_web_fetch = Endpoint(web.web_fetch, "execute", "ollama:web", request=web.WebFetchRequest)
_web_search = Endpoint(web.web_search, "execute", "ollama:web", request=web.WebSearchRequest)
_mcp = Endpoint(mcp.catalog, "execute", "ollama:mcp", tracked=False, local=True)
_mcp_call = Endpoint(mcp.call, "execute", "ollama:mcp", request=mcp.McpCallRequest, local=True)
_pull = Endpoint(transfer.pull, "write", "ollama:models", request=transfer.TransferRequest)
_push = Endpoint(transfer.push, "write", "ollama:models", request=transfer.TransferRequest)
_openai_chat = Endpoint(
    openai_chat.chat_completions, "execute", "ollama:run", request=openai_wire.ChatCompletionRequest
)
_completions = Endpoint(
    completions.completions, "execute", "ollama:run", request=openai_wire.CompletionRequest
)
_openai_embeddings = Endpoint(
    embeddings.embeddings, "execute", "ollama:run", request=openai_wire.EmbeddingsRequest
)
_responses = Endpoint(
    responses.responses, "execute", "ollama:run", request=openai_wire.ResponsesRequest
)
_transcriptions = Endpoint(audio.transcriptions, "execute", "ollama:run", open_body=audio.open_form)
_upload_file = Endpoint(
    files.upload, "execute", "ollama:run", tracked=False, open_body=files.open_form
)
_files = Endpoint(files.files, "read", "ollama", tracked=False)
_file = Endpoint(files.file, "read", "ollama", tracked=False)
_file_content = Endpoint(files.content, "read", "ollama", tracked=False)
_delete_file = Endpoint(files.delete, "execute", "ollama:run", tracked=False)
_create_batch = Endpoint(
    batches.create, "execute", "ollama:run", tracked=False, request=openai_wire.BatchRequest
)
_batches = Endpoint(batches.batches, "read", "ollama", tracked=False)
_batch = Endpoint(batches.batch, "read", "ollama", tracked=False)
_cancel_batch = Endpoint(batches.cancel, "execute", "ollama:run", tracked=False)
_all_batches = Endpoint(batches.all_batches, "read", "ollama:admin", tracked=False)
_openai_models = Endpoint(openai_models.models, "read", "ollama", tracked=False)
_openai_model = Endpoint(openai_models.model, "read", "ollama", tracked=False)
_messages = Endpoint(
    messages.messages, "execute", "ollama:run", request=anthropic_wire.MessagesRequest
)
_count_tokens = Endpoint(
    messages.count_tokens, "execute", "ollama:run", request=anthropic_wire.CountRequest
)
_requests = Endpoint(usage.requests, "read", "ollama", tracked=False)
_usage = Endpoint(usage.usage, "read", "ollama", tracked=False)
_health = Endpoint(admin.health, "read", "ollama", tracked=False)
_admin_usage = Endpoint(admin.usage, "read", "ollama:admin", tracked=False)
_admin_csv = Endpoint(admin.usage_csv, "read", "ollama:admin", tracked=False)
_admin_requests = Endpoint(admin.requests, "read", "ollama:admin", tracked=False)
_admin_cancel = Endpoint(admin.cancel, "write", "ollama:admin", tracked=False)
_drain = Endpoint(admin.drain, "write", "ollama:admin", tracked=False)
_resume = Endpoint(admin.resume, "write", "ollama:admin", tracked=False)
_block = Endpoint(admin.block, "write", "ollama:admin", tracked=False, request=admin.BlockRequest)
_limits = Endpoint(admin_limits.limits, "read", "ollama:admin", tracked=False)
_set_limit = Endpoint(
    admin_limits.set_limit,
    "write",
    "ollama:admin",
    tracked=False,
    request=admin_limits.LimitRequest,
)
_remove_limit = Endpoint(admin_limits.remove_limit, "write", "ollama:admin", tracked=False)
_unblock = Endpoint(admin.unblock, "write", "ollama:admin", tracked=False)

ROUTES: tuple[Route, ...] = (
    Route("", {"GET": _root, "HEAD": _root}),
    Route(r"/openapi\.json", {"GET": _openapi_json}),
    Route(r"/openapi\.yaml", {"GET": _openapi_yaml}),
    Route("/api/version", {"GET": _version, "HEAD": _version}),
    Route("/api/devices", {"GET": _devices}),
    Route("/api/status", {"GET": _status}),
    Route("/api/me", {"POST": _me}),
    Route("/api/signout", {"POST": _signout}),
    Route("/api/user/keys/([^/]+)", {"DELETE": _signout}),
    Route("/api/experimental/model-recommendations", {"GET": _recommendations}),
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
    Route("/api/tokenize", {"POST": _tokenize}),
    Route("/api/detokenize", {"POST": _detokenize}),
    Route("/api/score", {"POST": _score}),
    Route("/api/rerank", {"POST": _rerank}),
    Route("/api/requests", {"GET": _requests}),
    Route("/api/requests/([A-Za-z0-9_.:-]+)", {"DELETE": _cancel}),
    Route("/api/pull", {"POST": _pull}),
    Route("/api/push", {"POST": _push}),
    Route("/api/web_fetch", {"POST": _web_fetch}),
    Route("/api/web_search", {"POST": _web_search}),
    Route("/api/experimental/web_fetch", {"POST": _web_fetch}),
    Route("/api/experimental/web_search", {"POST": _web_search}),
    Route("/api/mcp", {"GET": _mcp}),
    Route("/api/mcp/call", {"POST": _mcp_call}),
    Route("/health", {"GET": _health, "HEAD": _health}),
    Route("/usage", {"GET": _usage}),
    Route("/admin/usage", {"GET": _admin_usage}),
    Route(r"/admin/usage\.csv", {"GET": _admin_csv}),
    Route("/admin/requests", {"GET": _admin_requests}),
    Route("/admin/requests/([A-Za-z0-9_.:-]+)", {"DELETE": _admin_cancel}),
    Route("/admin/batches", {"GET": _all_batches}),
    Route("/admin/limits", {"GET": _limits, "PUT": _set_limit, "DELETE": _remove_limit}),
    Route("/admin/drain", {"PUT": _drain}),
    Route("/admin/resume", {"PUT": _resume}),
    Route("/admin/block", {"POST": _block}),
    Route("/admin/unblock", {"POST": _unblock}),
    Route("/v1/chat/completions", {"POST": _openai_chat}, OPENAI),
    Route("/v1/completions", {"POST": _completions}, OPENAI),
    Route("/v1/embeddings", {"POST": _openai_embeddings}, OPENAI),
    Route("/v1/audio/transcriptions", {"POST": _transcriptions}, OPENAI),
    Route("/v1/rerank", {"POST": _rerank_v1}, OPENAI),
    Route("/v1/files", {"GET": _files, "POST": _upload_file}, OPENAI),
    Route("/v1/files/([A-Za-z0-9_.:-]+)", {"GET": _file, "DELETE": _delete_file}, OPENAI),
    Route("/v1/files/([A-Za-z0-9_.:-]+)/content", {"GET": _file_content}, OPENAI),
    Route("/v1/batches", {"GET": _batches, "POST": _create_batch}, OPENAI),
    Route("/v1/batches/([A-Za-z0-9_.:-]+)", {"GET": _batch}, OPENAI),
    Route("/v1/batches/([A-Za-z0-9_.:-]+)/cancel", {"POST": _cancel_batch}, OPENAI),
    Route("/v1/models", {"GET": _openai_models}, OPENAI),
    Route("/v1/models/(.+?)", {"GET": _openai_model}, OPENAI),
    Route("/v1/responses", {"POST": _responses}, RESPONSES),
    Route("/v1/messages", {"POST": _messages}, ANTHROPIC),
    Route("/v1/messages/count_tokens", {"POST": _count_tokens}, ANTHROPIC),
    Route("/v1/.*", {}, OPENAI),
)
