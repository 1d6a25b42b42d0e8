"""Parsing Go templates and rewriting their syntax trees as Ollama does.

Imports gotpl, which is slow: import this module only to use a template.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import gotpl
from gotpl.parse import (
    ActionNode,
    BlockNode,
    CommandNode,
    FieldNode,
    IdentifierNode,
    IfNode,
    ListNode,
    ParenthesizedNode,
    ParsedTemplate,
    ParserLimits,
    PipeNode,
    RangeNode,
    TemplateCallNode,
    VariableNode,
    WithNode,
    parse_template,
)

from .errors import TemplateError

LIMITS = ParserLimits(max_source_bytes=1_000_000, max_tokens=200_000, max_nesting=100)

OUTPUT = "\0output"
"""The function applied to every printed value; templates cannot spell its name."""

PRINTERS = frozenset({"print", "printf", "println", "html", "js", "urlquery"})

BRANCHES = (IfNode, RangeNode, WithNode)
CALLS = (TemplateCallNode, BlockNode)


def parse(source: str, functions: Collection[str]) -> ParsedTemplate:
    """Parse a template, with ``{{ .Response }}`` appended unless it prints one.

    Raises TemplateError with the line.
    """
    try:
        parsed = parse_template(source, functions=functions, limits=LIMITS)
        names = variables(parsed)
    except gotpl.TemplateSyntaxError as error:
        message = re.sub("'([^']*)'", r'"\1"', str(error).split(": ", 1)[-1])  # Go's quotes
        raise TemplateError(f"template: :{error.line}: {message}") from error
    if names & {"messages", "response"}:
        return parsed
    end = len(source.encode())
    field = FieldNode(("Response",), end, end)
    action = ActionNode(_pipe(CommandNode((field,), end, end)), end, end)
    return replace(parsed, root=ListNode((*parsed.root.nodes, action)))


def variables(parsed: ParsedTemplate) -> frozenset[str]:
    """Collect the names that a template's pipelines mention, lower-cased.

    A call of another template without an argument raises TemplateError, as in Ollama.
    """
    lists = [parsed.root, *(definition.body for definition in parsed.definitions)]
    return frozenset(name.lower() for nodes in lists for name in _names(nodes))


def _names(nodes: ListNode) -> Iterator[str]:
    for node in nodes.nodes:
        if isinstance(node, CALLS) and node.pipeline is None:
            raise TemplateError("undefined template specified")
        if isinstance(node, (ActionNode, *BRANCHES, *CALLS)):
            yield from _pipe_names(node.pipeline)
        if isinstance(node, BRANCHES):
            yield from _names(node.body)
            if node.else_body is not None:
                yield from _names(node.else_body)


def _pipe_names(pipe: PipeNode) -> Iterator[str]:
    for command in pipe.commands:
        for term in command.arguments:
            if isinstance(term, FieldNode):
                yield from term.fields
            elif isinstance(term, VariableNode):
                yield term.name
                yield from term.fields
            elif isinstance(term, ParenthesizedNode) and not term.fields:
                yield from _pipe_names(term.pipeline)


def mentions(pipe: PipeNode, name: str) -> bool:
    """Return whether a pipeline mentions a field or a variable of that name."""
    return name in _pipe_names(pipe)


def cut_after_response(nodes: ListNode) -> ListNode:
    """Cut a template after the first action that prints ``.Response``."""
    return _cut(nodes)[0]


def _cut(nodes: ListNode) -> tuple[ListNode, bool]:
    kept: list[Any] = []
    for node in nodes.nodes:
        done = False
        if isinstance(node, BRANCHES):
            body, done = _cut(node.body)
            other, other_done = _cut(node.else_body) if node.else_body else (None, False)
            node, done = replace(node, body=body, else_body=other), done or other_done
        elif isinstance(node, ActionNode):
            done = _mentions_response(node.pipeline)
        kept.append(node)
        if done:
            return ListNode(tuple(kept)), True
    return ListNode(tuple(kept)), False


def _mentions_response(pipe: PipeNode) -> bool:
    terms = [term for command in pipe.commands for term in command.arguments]
    return any(
        "Response" in term.fields
        if isinstance(term, FieldNode)
        else isinstance(term, ParenthesizedNode) and _mentions_response(term.pipeline)
        for term in terms
    )


def with_output(parsed: ParsedTemplate) -> ParsedTemplate:
    """Pass every value that is printed or converted to text through the function OUTPUT."""
    return replace(
        parsed,
        root=_output_list(parsed.root),
        definitions=tuple(
            replace(definition, body=_output_list(definition.body))
            for definition in parsed.definitions
        ),
    )


def _output_list(nodes: ListNode) -> ListNode:
    return ListNode(tuple(_output_node(node) for node in nodes.nodes))


def _output_node(node: Any) -> Any:
    if isinstance(node, ActionNode):
        pipe = _output_pipe(node.pipeline)
        if not pipe.declarations:
            pipe = replace(pipe, commands=(*pipe.commands, _output_command(pipe)))
        return replace(node, pipeline=pipe)
    if isinstance(node, BRANCHES):
        return replace(
            node,
            pipeline=_output_pipe(node.pipeline),
            body=_output_list(node.body),
            else_body=_output_list(node.else_body) if node.else_body else None,
        )
    if isinstance(node, CALLS) and node.pipeline is not None:
        return replace(node, pipeline=_output_pipe(node.pipeline))
    return node


def _output_pipe(pipe: PipeNode) -> PipeNode:
    commands: list[CommandNode] = []
    for command in pipe.commands:
        terms = tuple(_output_term(term) for term in command.arguments)
        first = terms[0]
        if not (isinstance(first, IdentifierNode) and first.name in PRINTERS):
            commands.append(replace(command, arguments=terms))
            continue
        if commands:
            commands.append(_output_command(command))
        terms = (first, *(_printed(term) for term in terms[1:]))
        commands += [replace(command, arguments=terms), _output_command(command)]
    return replace(pipe, commands=tuple(commands))


def _output_term(term: Any) -> Any:
    if isinstance(term, ParenthesizedNode):
        return replace(term, pipeline=_output_pipe(term.pipeline))
    return term


def _printed(term: Any) -> ParenthesizedNode:
    command = CommandNode((term,), term.start, term.end)
    return ParenthesizedNode(_pipe(command, _output_command(term)), (), term.start, term.end)


def _output_command(node: Any) -> CommandNode:
    return CommandNode((IdentifierNode(OUTPUT, node.start, node.end),), node.start, node.end)


def _pipe(*commands: CommandNode) -> PipeNode:
    return PipeNode((), False, commands, commands[0].start, commands[-1].end)
