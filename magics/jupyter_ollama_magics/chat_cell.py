"""The question of a ``%%chat`` cell, made of its options and its text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from . import attachments, formats, schema
from .chat import Chats, Messages, PendingTurn, Question
from .context.tokens import estimate
from .failures import OllamaMagicsError
from .result import ChatResult
from .stream_view import NotebookView, TerminalView
from .tools import Tools


def question(
    args: argparse.Namespace,
    prompt: str,
    target: Any,
    tools: Tools | None,
    evaluate: Callable[[str], Any],
) -> Question:
    """Return the question of a cell. Raises OllamaMagicsError for a wrong option.

    ``target`` is the value of ``--schema``, None without it. ``evaluate`` returns the value of an
    expression.
    """
    if target is not None and args.format not in (None, "json"):
        raise OllamaMagicsError(f"--schema gives JSON, so --format {args.format} cannot be.")
    fields: dict[str, Any] = {}
    if target is not None:
        fields["format"] = schema.schema_option(args.schema, target)
    elif args.format == "json":
        fields["format"] = "json"
    if args.think is not None:
        fields["think"] = args.think
    images = [
        *attachments.encoded("--image", args.image or [], evaluate, attachments.read_image),
        *attachments.encoded("--audio", args.audio or [], evaluate, attachments.read_sound),
    ]
    return Question(prompt, images, formats.INSTRUCTIONS.get(args.format, ""), fields, tools)


def show_context(question: Question, before: Messages) -> None:
    """Print the messages that a question would send, and about how many tokens they have."""
    messages = [*before, question.message(question.instruction)]
    tokens = sum(estimate(message["content"]) for message in messages)
    files = len(question.images)
    more = f", and {files} {'file' if files == 1 else 'files'}" if files else ""
    texts = [f"--- {message['role']}\n{message['content']}" for message in messages]
    print("\n\n".join([f"Nothing is sent. About {tokens:,} tokens{more}:", *texts]))  # noqa: T201


def check_background(question: Question, view: NotebookView | TerminalView) -> None:
    """Raise OllamaMagicsError where ``--bg`` cannot be used."""
    if isinstance(view, TerminalView):
        raise OllamaMagicsError("--bg needs a notebook: a terminal cannot update earlier output.")
    if question.tools is not None:
        raise OllamaMagicsError("--bg cannot go with --tools, which run in the cell.")


def ask_in_background(
    chats: Chats,
    question: Question,
    turn: PendingTurn,
    result: ChatResult,
    view: Any,
    default_system: str,
    attended: bool,
) -> None:
    """Start the answer. Wait for its end unless ``attended``: a person runs the cell."""
    from .background_chat import BackgroundAnswer

    answer = BackgroundAnswer(chats, question, turn, result, view)
    result.background = answer
    answer.start(default_system)
    if not attended:
        answer.wait_here()
