"""Text of an answer to content, thinking and tool calls, piece by piece."""
