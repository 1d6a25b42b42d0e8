"""The magics and their settings."""

from __future__ import annotations

import argparse
from typing import Any

from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from IPython.core.magic_arguments import argument, kwds, magic_arguments
from traitlets import Bool, Enum, Float, Int, List, Unicode, Union, observe

from . import arguments, formats, images, schema
from .chat import Chats, Question
from .chat_options import THINK, chat_options
from .commands import Commands
from .completion import chat_matcher
from .connection import Connection, ModelNames
from .discovery import discover
from .failures import OllamaMagicsError, reported
from .interpolate import interpolate
from .last_error import LastError, with_body
from .result import ChatResult
from .stream_view import NotebookView, TerminalView, in_notebook
from .tools import Tools


@magics_class
class OllamaMagics(Magics):
    """Chat with, embed by and look after the models of an Ollama server."""

    url = Unicode(
        help="""Address of the server. Empty: JUPYTER_OLLAMA_URL, else the Jupyter server of this
        kernel, else OLLAMA_HOST, else http://127.0.0.1:11434.""",
    ).tag(config=True)
    token = Unicode(
        help="Token for that server. Empty: JUPYTER_OLLAMA_TOKEN or OLLAMA_API_KEY.",
    ).tag(config=True)
    model = Unicode(
        help="""Model of %%chat. Empty: the model used last, else the only one there is.""",
    ).tag(config=True)
    embed_model = Unicode(
        help="Model of %embed. Empty: the only embedding model there is.",
    ).tag(config=True)
    system = Unicode(
        help="System message of conversations that are given none by --system.",
    ).tag(config=True)
    history_tokens = Int(
        0,
        min=0,
        help="""Longest history of a conversation in tokens; its oldest turns are forgotten. 0: as
        much as the context of the model holds.""",
    ).tag(config=True)
    refresh_hz = Float(
        15.0, min=1.0, max=60.0, help="How often a growing answer is redrawn, in a second."
    ).tag(config=True)
    show_stats = Bool(
        True, help="Show the model, the token counts and the speed below an answer."
    ).tag(config=True)
    tool_policy = Union(
        [Enum(["ask", "never"]), List(Unicode())],
        default_value="ask",
        help="""Whether functions of --tools run: "ask" before each call, "never", or a list of the
        names that run unasked.""",
    ).tag(config=True)
    tool_rounds = Int(
        8, min=1, help="How often a model may call functions before it must answer."
    ).tag(config=True)

    def __init__(self, shell: Any = None, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self._connection = Connection(lambda: discover(self.url, self.token))
        self._chats = Chats(self._connection)
        self._chats.model = self.model
        self._chats.history_tokens = self.history_tokens
        self._names = ModelNames(self._connection)
        self._commands = Commands(self, self._connection, self._chats, self._names)
        self._last_error = LastError()
        self._matcher = chat_matcher(self._names.get, self._namespace)
        if getattr(shell, "Completer", None) is not None:
            shell.Completer.custom_matchers.append(self._matcher)
        if getattr(shell, "events", None) is not None:
            shell.events.register("post_run_cell", self._last_error)
            shell.input_transformers_cleanup.append(with_body)

    @property
    def connection(self) -> Connection:
        """The server that this kernel's magics talk to."""
        return self._connection

    def unload(self) -> None:
        """Take back all that loading added to the shell."""
        self._connection.reset()
        shell: Any = self.shell
        if shell.Completer is not None and self._matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self._matcher)
        shell.events.unregister("post_run_cell", self._last_error)
        shell.input_transformers_cleanup.remove(with_body)
        if self in shell.configurables:
            shell.configurables.remove(self)
        for kind, names in self.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        shell.magics_manager.registry.pop(type(self).__name__, None)

    @observe("url", "token")
    def _server_changed(self, _: Any) -> None:
        if hasattr(self, "_connection"):
            self._connection.reset()
            self._names.forget()

    @observe("model", "history_tokens")
    def _chats_changed(self, change: Any) -> None:
        if hasattr(self, "_chats"):
            setattr(self._chats, change.name, change.new)

    @magic_arguments()
    # The usage line would begin with a single %.
    @kwds(usage="%%chat [MODEL] [OPTIONS]")
    @chat_options
    @no_var_expand
    @cell_magic
    def chat(self, line: str, cell: str) -> ChatResult:
        """Send the cell to a model and show its answer as it is written.

        Follow-up cells go on with the conversation. {name}, {name.attribute} and {name[index]} in
        the cell are replaced by the values of variables; other braces stay as they are, and
        {{name}} gives {name}. The result is also in _. Interrupting the kernel ends the answer and
        keeps what has come.
        """
        namespace = self._namespace()
        args = arguments.parse(self.chat, line, namespace)
        if not cell.strip() and not args.fix:
            raise OllamaMagicsError("The cell has no prompt. It goes below the line of %%chat.")
        options = arguments.options(args)
        wanted = self._evaluate(args.schema, namespace) if args.schema else None
        question = self._question(args, cell.strip("\n"), namespace, wanted)
        view = NotebookView(self.refresh_hz) if in_notebook(self.shell) else TerminalView()
        conversation = self._chats.conversation(args.conversation, args.new)
        conversation.system = args.system or conversation.system
        kind = "json" if args.schema else args.format or "md"
        result = ChatResult(args.model, options, conversation, self.show_stats, kind)
        result.schema = wanted
        if args.bg:
            self._ask_in_background(question, result, view)
        else:
            self._chats.ask(question, result, view, self.system)
        result.drawn(self.shell.execution_count)
        if args.output:
            self._store(args.output, result)
        if args.format == "code" and result.done_reason != "interrupted" and result.code:
            self.shell.set_next_input(result.code)
        return result

    def _ask_in_background(
        self, question: Question, result: ChatResult, view: NotebookView | TerminalView
    ) -> None:
        from .background_chat import BackgroundAnswer

        if isinstance(view, TerminalView):
            raise OllamaMagicsError("--bg wants a notebook: a terminal has one place to write.")
        if question.tools is not None:
            raise OllamaMagicsError("--bg cannot go with --tools, which run in the cell.")
        result.background = BackgroundAnswer(self._chats, question, result, view)
        result.background.start(self.system)

    def _question(
        self, args: argparse.Namespace, prompt: str, namespace: dict[str, Any], wanted: Any
    ) -> Question:
        """Return what a cell asks, or say which option is wrong."""
        if wanted is not None and args.format not in (None, "json"):
            raise OllamaMagicsError(f"--schema gives JSON, so --format {args.format} cannot be.")
        prompt = prompt if args.raw else interpolate(prompt, namespace)
        question = Question(self._last_error.prompt(prompt) if args.fix else prompt)
        question.instruction = formats.INSTRUCTIONS.get(args.format, "")
        if wanted is not None:
            question.fields["format"] = schema.wanted_schema(args.schema, wanted)
        elif args.format == "json":
            question.fields["format"] = "json"
        if args.think:
            question.fields["think"] = THINK[args.think]

        def value(expression: str) -> Any:
            return self._evaluate(expression, namespace)

        question.images = images.encoded(args.image or [], value)
        if args.tools:
            functions = [value(name) for name in args.tools.split(",")]
            question.tools = Tools(functions, self.tool_policy, input)
            question.tool_rounds = self.tool_rounds
        return question

    @magic_arguments()
    # Without a positional, IPython completes the expression as Python.
    @kwds(usage="embed EXPR [--model NAME] [--dimensions N] [-o NAME]")
    @argument("--model", metavar="NAME", help="Embedding model. Default: the only one there is.")
    @argument("--dimensions", type=int, metavar="N", help="Keep the first N dimensions.")
    @argument("-o", dest="output", metavar="NAME", help="Keep the vectors in this variable.")
    @needs_local_scope
    @no_var_expand
    @line_magic
    def embed(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Turn texts into vectors: vectors = %embed df.text

        The expression comes first. A Series or a DataFrame of one column gives a DataFrame of
        float32 with the same index, a list an array with a row for each text, a quoted text one
        vector. Missing values give NaN.
        """
        expression, rest = arguments.split_expression(line)
        namespace = self._namespace(local_ns)
        args = arguments.parse(self.embed, rest, namespace)
        value = self._evaluate(expression, namespace)
        vectors = self._embed(value, args.model or self.embed_model, args.dimensions)
        if not args.output:
            return vectors
        self._store(args.output, vectors)
        return None

    @magic_arguments()
    @kwds(usage="ollama [COMMAND] [WORDS] [OPTIONS]")
    @argument("command", nargs="?", default="help", help="See %%ollama help.")
    @argument("words", nargs="*", help="A model, file or address, as the command wants.")
    @argument("-f", dest="file", default="", metavar="MODELFILE", help="Modelfile for create.")
    @argument("-q", "--quantize", metavar="TYPE", help="Weights that create makes: q4_0, q8_0…")
    @argument("--system", metavar="TEXT", help="System message for create.")
    @argument(
        "-p", dest="parameter", action="append", metavar="KEY=VALUE", help="Option for create."
    )
    @argument("--token", default="", help="Token for connect.")
    @argument("--insecure", action="store_true", help="Let pull ask a registry by plain HTTP.")
    @no_var_expand
    @line_cell_magic
    def ollama(self, line: str, cell: str | None = None) -> Any:
        """Look at the server, its models and the conversations, and choose among them.

        A cell is the Modelfile of %%ollama create NAME, and taken as it is.
        """
        args = arguments.parse(self.ollama, line, self._namespace())
        args.cell = cell
        return self._commands.run(args)

    def _embed(self, value: Any, model: str, dimensions: int | None) -> Any:
        from .embed import ProgressLine, embed

        line = ProgressLine()
        report = line if in_notebook(self.shell) else lambda done, total: None
        connection = self._connection
        try:
            with reported(connection, model):
                model = model or connection.choose("embedding")
                return embed(value, connection.client, model, dimensions, report)
        finally:
            line.clear()

    def _namespace(self, local_ns: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**self.shell.user_ns, **(local_ns or {})}

    def _evaluate(self, expression: str, namespace: dict[str, Any]) -> Any:
        try:
            return eval(expression, namespace)
        except Exception as error:
            kind = type(error).__name__
            raise OllamaMagicsError(f"{expression} failed: {kind}: {error}") from error

    def _store(self, name: str, value: Any) -> None:
        if not name.isidentifier():
            raise OllamaMagicsError(f"-o wants the name of a variable, not {name}.")
        self.shell.push({name: value})
