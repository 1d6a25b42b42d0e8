"""What a model can do, told from its GGUF header and its template."""

from __future__ import annotations

import logging
from functools import lru_cache

from .gguf import Header
from .manifest import ImageConfig

log = logging.getLogger(__name__)


def capabilities(
    header: Header, template: str | None, has_projector: bool, config: ImageConfig
) -> list[str]:
    """List what a model supports; ``template`` is its Go template, None if it has only Jinja."""
    found = list(config.capabilities or ())
    if header.get("pooling_type") is not None:
        found.append("embedding")
        return list(dict.fromkeys(found))
    found.append("completion")
    if has_projector or header.get("vision.block_count") is not None:
        found.append("vision")
    if template is None:
        found += _of_jinja(str(header.metadata.get("tokenizer.chat_template") or ""))
    else:
        found += _of_go_template(template)
    if config.model_family in ("gptoss", "gpt-oss"):
        found.append("thinking")
    return list(dict.fromkeys(found))


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
        log.warning("a model's template is faulty: %s", error)
        return ()
    wanted = {"tools": "tools", "suffix": "insert", "thinking": "thinking"}
    return tuple(capability for name, capability in wanted.items() if name in names)
