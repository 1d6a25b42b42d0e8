"""Views of a model in answers: the bodies of /api/show and /api/tags, and its Modelfile."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from jupyter_ollama_client.modelfile import Command, Modelfile

from ..errors import OllamaError
from ..library.gguf_types import parameter_size
from .timestamps import rfc3339

if TYPE_CHECKING:
    from ..library.gguf import Header
    from ..library.model import Model

_tags: WeakKeyDictionary[Model, dict[str, Any]] = WeakKeyDictionary()


def details(model: Model) -> dict[str, Any]:
    """Return ``details`` of several answers; gaps of the config are filled from the GGUF."""
    config = model.config
    header = _header(model)
    file_type, size, family = config.file_type, config.model_type, config.model_family
    if header:
        family = family or header.architecture
        size = size or parameter_size(header.parameter_count)
        if file_type.lower() in ("", "unknown"):
            file_type = header.file_type
    return {
        "parent_model": model.parent_model,
        "format": config.model_format,
        "family": family,
        "families": config.model_families,
        "parameter_size": size,
        "quantization_level": file_type,
    }


def tag(model: Model) -> dict[str, Any]:
    """Return the entry of /api/tags, computed once for each model."""
    body = _tags.get(model)
    if body is None:
        body = _tag_body(model)
        if "capabilities" in body or not model.has_weights:
            _tags[model] = body  # else the file is unreadable, perhaps only for now
    return body


def _tag_body(model: Model) -> dict[str, Any]:
    config = model.config
    header = _header(model)
    body: dict[str, Any] = {"name": model.name.display, "model": model.name.display}
    body |= _given(remote_model=config.remote_model, remote_host=config.remote_host)
    body |= {
        "modified_at": rfc3339(model.modified_at),
        "size": model.size,
        "digest": model.digest,
        "details": details(model)
        | _given(
            context_length=_length(header, "context_length") or config.context_length,
            embedding_length=_length(header, "embedding_length") or config.embedding_length,
        ),
    }
    return body | _given(capabilities=_capabilities(model))


def show(
    model: Model, verbose: bool = False, system: str = "", params: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the answer of /api/show; ``verbose`` adds the arrays of the GGUF.

    ``system`` replaces the model's own system text, ``params`` override its parameters in the
    Modelfile. Raises OllamaError if a file of the model is unreadable.
    """
    body = _show_body(_changed(model, system), verbose)
    if params:
        body["modelfile"] = modelfile_text(_changed(model, system, params))
    return body


def _changed(model: Model, system: str = "", params: dict[str, Any] | None = None) -> Model:
    """Return a copy of the model with a system text and parameters over its own."""
    model = copy.copy(model)
    if system:
        model.system = system
    model.params = model.params | (params or {})
    return model


def _show_body(model: Model, verbose: bool) -> dict[str, Any]:
    config = model.config
    head = _given(
        license="\n".join(model.licenses),
        modelfile=modelfile_text(model),
        parameters=parameters_text(model.params),
        template=_template(model),
        system=model.system,
        renderer=config.renderer,
        parser=config.parser,
    )
    messages = [{"role": message.role, "content": message.content} for message in model.messages]
    head |= {"details": details(model)} | _given(messages=messages)
    head |= _given(remote_model=config.remote_model, remote_host=config.remote_host)
    tail = _given(capabilities=model.capabilities) | {"modified_at": rfc3339(model.modified_at)}
    return head | _gguf_body(model, verbose) | tail | _given(requires=config.requires)


def _gguf_body(model: Model, verbose: bool) -> dict[str, Any]:
    if not model.has_weights:
        return {"model_info": {}}
    header = model.read_header(model.model_path, arrays=verbose)
    info = _model_info(header)
    info.pop("general.name", None)
    info.pop("tokenizer.chat_template", None)
    body: dict[str, Any] = {"model_info": dict(sorted(info.items()))}
    for path in model.projector_paths[:1]:
        projector = _model_info(model.read_header(path, arrays=verbose))
        body["projector_info"] = dict(sorted(projector.items()))
    tensors = [
        {"name": tensor.name, "type": tensor.type_name, "shape": list(tensor.shape)}
        for tensor in header.tensors
    ]
    return body | _given(tensors=tensors)


def _model_info(header: Header) -> dict[str, Any]:
    return header.metadata | {"general.parameter_count": header.parameter_count}


def parameters_text(params: dict[str, Any]) -> str:
    """Write options as lines of name and value, one line for each value of a list."""
    lines = []
    for name, value in _flat(params):
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _plain(value)
        lines.append(f"{name:<30} {text}")
    return "\n".join(lines)


def modelfile_text(model: Model) -> str:
    """Return the Modelfile that would make a model, with a note on how to build on it."""
    commands = [Command("from", str(model.model_path))] if model.has_weights else []
    commands += [Command("adapter", str(path)) for path in model.adapter_paths]
    if model.draft_path:
        commands.append(Command("draft", str(model.draft_path)))
    commands += [Command("from", str(path)) for path in model.projector_paths]
    for keyword, text in (
        ("template", model.template),
        ("system", model.system),
        ("renderer", model.config.renderer),
        ("parser", model.config.parser),
    ):
        if text:
            commands.append(Command(keyword, text))
    for name, value in _flat(model.params):
        commands.append(Command("parameter", _plain(value), name))
    commands += [Command("license", text) for text in model.licenses]
    commands += [Command("message", m.content, m.role) for m in model.messages]
    return (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        f"# FROM {model.name.display}\n\n{Modelfile(commands)}"
    )


def _header(model: Model) -> Header | None:
    """The header, or None for a model without a readable GGUF: lists must not fail for one."""
    try:
        return model.header
    except OllamaError:
        return None


def _capabilities(model: Model) -> list[str]:
    try:
        return model.capabilities
    except OllamaError:
        return []


def _template(model: Model) -> str:
    if model.template is not None:
        return model.template
    header = _header(model)
    jinja = header.metadata.get("tokenizer.chat_template") if header else None
    return str(jinja or "{{ .Prompt }}")


def _length(header: Header | None, key: str) -> int:
    value = header.get(key) if header else None
    return value if isinstance(value, int) else 0


def _flat(params: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(params.items()):
        for item in value if isinstance(value, list) else [value]:
            yield name, item


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
