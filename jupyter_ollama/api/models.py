"""Stored and loaded models: tags, ps, show, copy, delete."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import OllamaError
from ..scheduler.remote_model import RemoteModel
from ..scheduler.request import current_request
from .endpoint import Call, Reply
from .hops import check_hops
from .timestamps import rfc3339
from .wire import CopyRequest, DeleteRequest, ShowRequest

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..library.model import Model
    from ..scheduler.limits import Limits
    from ..scheduler.loaded import LoadedModel


def limits_of(call: Call) -> Limits:
    """Return the limits of the caller."""
    return call.server.admission.limits(call.requester.name, call.requester.groups)


def check_name(call: Call, *names: str) -> None:
    """Raise OllamaError(403) if the caller's limits exclude a model.

    The model need not exist. Invalid names pass: the endpoint refuses them with its own error.
    """
    from ..library.name import InvalidName, ModelName

    limits = limits_of(call)
    for name in names:
        with suppress(InvalidName):
            limits.check_model(ModelName.parse(name))


async def allowed_model(call: Call, name: str) -> Model:
    """Return the model of a name. Raises InvalidName, or OllamaError: 403 where the caller's limits
    exclude it, 404 for no such model.
    """
    upstreams = call.server.upstream_pool
    check_name(call, name.partition("@")[0] if upstreams else name)
    model = await _find_anywhere(call, name) if upstreams else await _find_local(call, name)
    limits_of(call).check_model(model.name)
    return model


async def _find_local(call: Call, name: str) -> Model:
    library = call.server.library
    if (known := library.known(name)) is not None:
        return known
    return await asyncio.to_thread(library.find, name)


async def _find_anywhere(call: Call, name: str) -> Model:
    """Return the model of a name, here or on an upstream; the settings say which comes first."""
    upstreams = call.server.upstream_pool
    missing = OllamaError(404, f"model '{name}' not found")
    found: Model | None = None
    if call.server.upstreams_first:
        found = await upstreams.find(name, call.hops, asks_again=False)
    if found is None and "@" not in name:
        try:
            return await _find_local(call, name)
        except OllamaError as error:
            if error.status != 404:
                raise
            missing = error
    found = found or await upstreams.find(name, call.hops)
    if found is None:
        raise missing
    check_hops(call.hops)
    return found


async def all_models(server: OllamaServer) -> list[Model]:
    """Return the models of this server and of its upstreams, each name once, newest first."""
    local = await asyncio.to_thread(server.library.list)
    remote: list[Model] = [*await server.upstream_pool.models()]
    if not remote:
        return local
    first, second = (remote, local) if server.upstreams_first else (local, remote)
    taken = {model.name.qualified.lower() for model in first}
    others = [model for model in second if model.name.qualified.lower() not in taken]
    return sorted(first + others, key=lambda model: model.place)


async def allowed_models(call: Call) -> list[Model]:
    """Return all models that the caller's limits allow, newest first.

    Another server gets the local models only, so that two servers may be each other's upstreams.
    """
    limits = limits_of(call)
    if call.hops:
        found = await asyncio.to_thread(call.server.library.list)
    else:
        found = await all_models(call.server)
    return [model for model in found if limits.allows(model.name)]


def allowed_loaded(call: Call) -> list[LoadedModel]:
    """Return the loaded models that the caller's limits allow, the last to expire first."""
    limits = limits_of(call)
    return [one for one in call.server.scheduler.loaded() if limits.allows(one.model.name)]


MAY_NOT_UNLOAD = (
    "others may use this model: only users who may change models unload it, else it is unloaded "
    "when it has been idle for a while"
)


async def find_model(call: Call, name: str) -> Model:
    """Return the model of a request.

    Raises OllamaError: 400 for no name, 403 where the caller's limits exclude the model, 404 for no
    such model.
    """
    from ..library.name import InvalidName

    if name not in call.models:
        try:
            model = await allowed_model(call, name)
        except InvalidName as error:
            raise OllamaError(400, str(error)) from None
        if not model.is_read:
            await asyncio.to_thread(model.read)
        call.models[name] = model
    return call.models[name]


async def unload(call: Call, name: str) -> None:
    """Unload the model of a name or a digest when its requests end.

    A name that was deleted while the model served a request counts, too. Raises OllamaError: 404 if
    there is no such model, 403 on a shared server for users who may not change models.
    """
    request = current_request.get()
    if request and not request.may_manage:
        raise OllamaError(403, MAY_NOT_UNLOAD)
    try:
        model = await find_model(call, name)
    except OllamaError as error:
        # A digest can pass for a name, which the limits may exclude.
        scheduler, limits = call.server.scheduler, limits_of(call)
        if error.status not in (403, 404) or not await scheduler.expire_by_id(name, limits.allows):
            raise
    else:
        if isinstance(model, RemoteModel):
            raise OllamaError(400, f'model "{name}" runs on an upstream, which alone unloads it')
        call.server.scheduler.expire(model)


async def tags(call: Call) -> Reply:
    """Answer GET and HEAD /api/tags: all models that the caller may use, newest first."""
    from .model_views import tag

    models = await allowed_models(call)
    entries = await asyncio.to_thread(lambda: [tag(model) for model in models])
    return Reply({"models": entries})


async def ps(call: Call) -> Reply:
    """Answer GET /api/ps: the loaded models, the last to expire first."""
    from .model_views import details

    await call.server.scheduler.check_library()
    loaded = sorted(allowed_loaded(call), key=lambda m: m.expires_at, reverse=True)
    entries = [
        {
            "name": one.model.name.display,
            "model": one.model.name.display,
            "size": one.size,
            "digest": one.model.digest,
            "details": details(one.model),
            "expires_at": rfc3339(one.expires_at),
            "size_vram": one.size_vram,
            "context_length": one.num_ctx,
        }
        | ({"size_shared": one.size_shared} if one.size_shared else {})
        | ({"size_stored": one.runner.memory.stored} if one.runner.memory.stored else {})
        for one in loaded
    ]
    if call.server.upstream_pool and not call.hops:
        entries += await _running_elsewhere(call, {str(entry["name"]) for entry in entries})
    return Reply({"models": entries})


async def _running_elsewhere(call: Call, taken: set[str]) -> list[dict[str, Any]]:
    """Return the allowed models that upstreams by Ollama's API have loaded."""
    from .remote_views import remote_ps

    limits = limits_of(call)
    found = await call.server.upstream_pool.running()
    return [
        remote_ps(name, entry)
        for name, entry in found
        if name.display not in taken and limits.allows(name)
    ]


async def show(call: Call) -> Reply:
    """Answer POST /api/show: everything known about a model."""
    from ..library.name import ModelName
    from ..upstreams.model import UpstreamModel
    from . import model_views
    from .remote_views import remote_show

    request = call.decode(ShowRequest)
    name = request.model or request.name
    if not name:
        raise OllamaError(400, "model is required")
    try:
        model = await find_model(call, name)
    except OllamaError as error:
        if error.status != 404:
            raise
        base, at, upstream = name.partition("@")
        message = f"model '{ModelName.parse(base).display}{at}{upstream}' not found"
        raise OllamaError(404, message) from None
    if isinstance(model, UpstreamModel):
        body = remote_show(model, await call.server.upstream_pool.show(model))
    else:
        body = await asyncio.to_thread(
            model_views.show, model, request.verbose, request.system, request.options
        )
    if call.user_agent.startswith("GitHubCopilotChat/"):
        # Copilot lists models under this key, and fails where a GGUF lacks it.
        body["model_info"]["general.basename"] = name
    return Reply(body)


async def copy(call: Call) -> Reply:
    """Answer POST /api/copy: a second name for a model."""
    request = call.decode(CopyRequest)
    check_name(call, request.source, request.destination)
    await asyncio.to_thread(call.server.library.copy, request.source, request.destination)
    call.server.scheduler.library_changed()
    return Reply()


async def delete(call: Call) -> Reply:
    """Answer DELETE /api/delete: forget a model and the blobs that only it used."""
    request = call.decode(DeleteRequest)
    name = request.model or request.name
    if not name:
        raise OllamaError(400, "model is required")
    check_name(call, name)
    await asyncio.to_thread(call.server.library.delete, name)
    call.server.scheduler.library_changed()
    return Reply()
