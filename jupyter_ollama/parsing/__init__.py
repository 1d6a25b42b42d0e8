"""Incremental parsing of an answer into content, thinking and tool calls."""
