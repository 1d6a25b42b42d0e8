"""The npm package that suite_anthropic_js.mjs imports."""

from __future__ import annotations

from collections.abc import Callable


def test_node(node_checks: Callable[[str], None], node_check: str) -> None:
    node_checks(node_check)
