"""The capabilities of a model, derived from its GGUF header and its template."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

from ..errors import one_line
from ..parsing.parsers import named_parser
from .gguf import Header
from .manifest import ImageConfig

log = logging.getLogger(__name__)

_INFILL_KEYS = {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"}
"""A GGUF with one of these keys has tokens for fill-in-the-middle prompts."""


_DEAF_ARCHITECTURE = "nemotron_h_omni"
"""Its files contain audio towers, which llama.cpp cannot run yet."""


def capabilities(
    header: Header,
    template: str | None,
    has_projector: bool,
    config: ImageConfig,
    *,
    projector_hears: bool = False,
) -> list[str]:
    """List the capabilities of a model; ``template`` is its Go template, or None."""
    found = list(config.capabilities or ())
    if header.get("pooling_type") is not None:
        found.append("embedding")
        return list(dict.fromkeys(found))
    found.append("completion")
    if has_projector or header.get("vision.block_count") is not None:
        found.append("vision")
    if projector_hears or header.get("audio.block_count") is not None:
        found.append("audio")
    if _DEAF_ARCHITECTURE in (
        header.architecture,
        config.model_family,
        *(config.model_families or ()),
    ):
        found = [name for name in found if name != "audio"]
    go = prompt_template(header, template)
    if config.renderer or config.parser:
        found += _of_config(go, config)
    else:
        found += _of_template(go, header)
    if _INFILL_KEYS & header.metadata.keys() or suffix_template(template):
        found.append("insert")
    if config.model_family in ("gptoss", "gpt-oss"):
        found.append("thinking")
    return list(dict.fromkeys(found))


def hears(projector: Header) -> bool:
    """Return whether a projector encodes audio, by its metadata."""
    if projector.get("vision.projector_type") == "gemma3nv":
        return False
    return any(
        bool(value)
        for key, value in projector.metadata.items()
        if key.endswith(".has_audio_encoder")
    )


def prompt_template(header: Header, template: str | None) -> str | None:
    """Return the Go template that makes prompts, None where the GGUF's Jinja template does.

    Jinja is preferred without a Go template, and where it supports more of tools and thinking.
    """
    if template is None or not _jinja(header):
        return template
    jinja = set(_of_jinja(_jinja(header)))
    go = set(_of_go_template(template)) & {"tools", "thinking"}
    return None if jinja > go else template


def suffix_template(template: str | None) -> str | None:
    """Return the Go template if it can render the text around a gap, else None."""
    return template if template is not None and "insert" in _of_go_template(template) else None


def _of_config(template: str | None, config: ImageConfig) -> list[str]:
    """List the capabilities of the config's parser and the Go template; Jinja is not considered."""
    found = list(_of_go_template(template)) if template is not None else []
    if parser := named_parser(config.parser):
        found += ["tools"] * parser.has_tools + ["thinking"] * parser.thinks
    return found


def _of_template(template: str | None, header: Header) -> Sequence[str]:
    return _of_jinja(_jinja(header)) if template is None else _of_go_template(template)


def _jinja(header: Header) -> str:
    return str(header.metadata.get("tokenizer.chat_template") or "")


def _of_jinja(source: str) -> list[str]:
    found = []
    if "tools" in source or "tool_call" in source:
        found.append("tools")
    has_tags = "<think>" in source and "</think>" in source
    splits = "content.split('</think>')" in source or 'content.split("</think>")' in source
    if has_tags or (splits and "reasoning_content" not in source):
        found.append("thinking")
    return found


@lru_cache(maxsize=64)
def _of_go_template(source: str) -> tuple[str, ...]:
    from ..prompt.errors import TemplateError
    from ..prompt.go_template import GoTemplate  # its parser is slow to import

    try:
        names = GoTemplate(source).variables
    except TemplateError as error:
        log.warning("a model's template is faulty: %s", one_line(error))
        return ()
    wanted = {"tools": "tools", "suffix": "insert", "thinking": "thinking"}
    return tuple(capability for name, capability in wanted.items() if name in names)
