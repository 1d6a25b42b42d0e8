"""Creating a model from another model or from uploaded files, as POST /api/create does."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
from jupyter_ollama_client.parameters import LEGACY_PARAMETERS

from ..errors import OllamaError
from ..options import merge_options
from ..prompt.messages import Message
from . import manifest, sources
from .formats import FORMATS_BY_ARCHITECTURE, STOP_BY_ARCHITECTURE
from .gguf_types import parameter_size
from .layer_builder import BuiltLayer, LayerBuilder, Quantize, Status, quantization, quantized
from .manifest import ImageConfig, Manifest, encode_json
from .name import InvalidName, ModelName
from .regular_file import read_regular
from .requirement import check_requirement
from .store import Store

_DESCRIPTION = (
    "model_family",
    "model_type",
    "file_type",
    "base_name",
    "context_length",
    "embedding_length",
)
"""The fields of a config that describe the weights."""

_OF_THE_LAYERS = ("rootfs", "history")
"""Fields of Docker's image format that list the layers of one image and apply to no other."""


class CreateRequest(msgspec.Struct):
    """The body of /api/create. ``files``, ``adapters`` and ``draft_files`` map names to digests.

    The digests are those of stored blobs.
    """

    model: str | None = None
    name: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] | None = None
    template: str | None = None
    system: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, Any] | None = None
    messages: list[Message] | None = None
    quantize: str | None = None
    quantization: str | None = None
    draft_quantize: str | None = None
    stream: bool | None = None
    remote_host: str | None = None
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    info: dict[str, Any] | None = None


def create(
    store: Store, request: CreateRequest, quantize: Quantize
) -> Generator[Status, None, None]:
    """Create a model, yielding the status lines of /api/create. Raises OllamaError.

    Nothing is done before the first line is requested. A creation that fails, or whose generator
    is closed, leaves the store as it was.
    """
    wanted = {
        manifest.MODEL: quantization(request.quantize or request.quantization or ""),
        manifest.DRAFT: quantization(request.draft_quantize or ""),
    }
    for files in (request.files, request.adapters, request.draft_files):
        sources.check_files(files)
    if request.draft_quantize and not request.draft_files:
        raise OllamaError(400, "--draft-quantize requires a DRAFT model")
    name = _target(store, request)
    if request.remote_host:
        raise OllamaError(400, "bad remote")
    if request.template:
        _check_template(request.template)
    parameters = _typed_parameters(request.parameters or {})
    with store.holding() as hold:
        builder = LayerBuilder(store, hold)
        try:
            parts, config = yield from _weights(builder, request, wanted, quantize)
            _describe(config, parts, request.info or {})
            parameters = _formats(config, parts) | parameters
            check_requirement(name.display, config.requires)
            parts = _with_texts(builder, parts, request)
            parts = _with_parameters(builder, parts, parameters)
            parts = _with_messages(builder, parts, request.messages or [])
            config_part = builder.add(config.to_json(), manifest.CONFIG)
            for part in parts:
                yield {"status": part.status}
            yield {"status": "writing manifest"}
            layers = [part.layer for part in parts]
            store.write_manifest(name, Manifest(config=config_part.layer, layers=layers))
        finally:
            # Blobs that the new manifest does not name: all those of a failed creation, and
            # intermediate ones, such as the weights before quantization.
            store.remove_unused(builder.created)
    yield {"status": "success"}


def _target(store: Store, request: CreateRequest) -> ModelName:
    try:
        return store.canonical(ModelName.parse(request.model or request.name or ""))
    except InvalidName:
        raise OllamaError(400, "invalid model name") from None


def _check_template(source: str) -> None:
    from ..prompt.errors import TemplateError
    from ..prompt.go_template import GoTemplate  # its parser is slow to import

    try:
        GoTemplate(source)
    except TemplateError as error:
        raise OllamaError(400, f"template error: {error}") from None


def _weights(
    builder: LayerBuilder, request: CreateRequest, wanted: dict[str, str], quantize: Quantize
) -> Generator[Status, None, tuple[list[BuiltLayer], ImageConfig]]:
    config = ImageConfig()
    if request.from_:
        name, found, config = sources.base_model(builder.store, request.from_)
        config.others = {k: v for k, v in config.others.items() if k not in _OF_THE_LAYERS}
        parts = sources.from_model(builder, name, found)
    elif request.files is not None:
        parts = yield from sources.from_files(builder, request.files)
    else:
        raise OllamaError(400, "neither 'from' or 'files' was specified")
    config.renderer = request.renderer or config.renderer
    config.parser = request.parser or config.parser
    config.requires = request.requires or config.requires
    if request.adapters is not None:
        parts += yield from sources.from_adapters(builder, request.adapters, parts)
    if request.draft_files is not None:
        parts = _without(parts, manifest.DRAFT)
        config.draft = None
        parts += yield from sources.from_draft_files(builder, request.draft_files)
    for index, part in enumerate(parts):
        file_type = wanted.get(part.layer.media_type)
        if file_type and part.header and part.header.file_type != file_type:
            parts[index] = yield from quantized(builder, part, file_type, quantize)
    return parts, config


def _describe(config: ImageConfig, parts: list[BuiltLayer], info: dict[str, Any]) -> None:
    """Fill in the description from the request, else the GGUF, else the base model."""
    base = msgspec.structs.replace(config)
    capabilities = info.get("capabilities")
    if isinstance(capabilities, list):
        texts = [item for item in capabilities if isinstance(item, str)]
        config.capabilities = [*(config.capabilities or ()), *texts]
    config.model_family = _info_text(info, "model_family")
    config.base_name = _info_text(info, "base_name")
    config.file_type = _info_text(info, "quantization_level")
    config.model_type = _info_text(info, "parameter_size")
    config.context_length = _info_number(info, "context_length")
    config.embedding_length = _info_number(info, "embedding_length")
    families = [config.model_family]
    for part in parts:
        if part.layer.media_type == manifest.MODEL and part.header:
            header = part.header
            config.model_format = config.model_format or "gguf"
            config.model_family = config.model_family or header.architecture
            config.model_type = config.model_type or parameter_size(header.parameter_count)
            config.file_type = config.file_type or header.file_type
            families.append(header.architecture)
        elif part.layer.media_type == manifest.DRAFT and part.header:
            architecture = part.header.architecture
            config.draft = (config.draft or {}) | {
                "model_format": "gguf",
                "architecture": architecture,
            }
    for name in _DESCRIPTION:
        if not getattr(config, name):
            setattr(config, name, getattr(base, name))
    config.model_families = list(dict.fromkeys(filter(None, families))) or base.model_families


def _formats(config: ImageConfig, parts: list[BuiltLayer]) -> dict[str, Any]:
    """Set the renderer and parser of the architecture, if any; return their parameters."""
    headers = [p.header for p in parts if p.header and p.layer.media_type == manifest.MODEL]
    named = FORMATS_BY_ARCHITECTURE.get(headers[0].architecture) if headers else None
    if named is None or (config.renderer and config.parser):
        return {}
    config.renderer = config.renderer or named
    config.parser = config.parser or named
    stop = STOP_BY_ARCHITECTURE.get(headers[0].architecture)
    return {"stop": stop} if stop else {}


def _info_text(info: dict[str, Any], key: str) -> str:
    value = info.get(key, "")
    if not isinstance(value, str):
        raise OllamaError(400, f'info field "{key}" must be a string')
    return value


def _info_number(info: dict[str, Any], key: str) -> int:
    value = info.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OllamaError(400, f'info field "{key}" must be a number')
    if not 0 <= value < 2**63 or value != int(value):
        raise OllamaError(400, f'info field "{key}" must be a non-negative integer')
    return int(value)


def _with_texts(
    builder: LayerBuilder, parts: list[BuiltLayer], request: CreateRequest
) -> list[BuiltLayer]:
    """Replace template and system text, and add licenses."""
    if request.template:
        parts = _without(parts, manifest.TEMPLATE, manifest.PROMPT)
        parts.append(builder.add(request.template.encode(), manifest.TEMPLATE))
    if request.system:
        parts = _without(parts, manifest.SYSTEM)
        parts.append(builder.add(request.system.encode(), manifest.SYSTEM))
    licenses = [request.license] if isinstance(request.license, str) else request.license or []
    for text in filter(None, licenses):
        part = builder.add(text.encode(), manifest.LICENSE)
        if all(part.layer.digest != other.layer.digest for other in parts):
            parts.append(part)
    return parts


def _with_parameters(
    builder: LayerBuilder, parts: list[BuiltLayer], parameters: dict[str, Any]
) -> list[BuiltLayer]:
    """Merge parameters into the existing ones; new values win."""
    if not parameters:
        return parts
    merged: dict[str, Any] = {}
    for part in parts:
        if part.layer.media_type == manifest.PARAMS:
            merged |= msgspec.json.decode(read_regular(builder.store.blob_path(part.layer.digest)))
    merged |= parameters
    parts = _without(parts, manifest.PARAMS)
    parts.append(builder.add(encode_json(dict(sorted(merged.items()))), manifest.PARAMS))
    return parts


def _with_messages(
    builder: LayerBuilder, parts: list[BuiltLayer], messages: list[Message]
) -> list[BuiltLayer]:
    """Replace the messages if the request has any."""
    if not messages:
        return parts
    encoded = [
        {"role": message.role, "content": message.content} | msgspec.to_builtins(message)
        for message in messages
    ]
    return [
        *_without(parts, manifest.MESSAGES),
        builder.add(encode_json(encoded), manifest.MESSAGES),
    ]


def _typed_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Convert parameters to the types of options; unknown parameters are kept unchanged."""
    given = {
        name: value
        for name, value in parameters.items()
        if value is not None and name not in LEGACY_PARAMETERS
    }
    options, unknown = merge_options(given)
    return {name: given[name] if name in unknown else getattr(options, name) for name in given}


def _without(parts: list[BuiltLayer], *media_types: str) -> list[BuiltLayer]:
    return [part for part in parts if part.layer.media_type not in media_types]
