"""The magics and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from jupyter_ollama_client import parameters
from jupyter_ollama_client.credentials import hidden, hidden_in
from jupyter_ollama_client.discovery import discover
from traitlets import Bool, Enum, Float, Int, List, Unicode, Union, observe, validate

from . import arguments, chat_cell, mcp_tools
from .chat import Chats
from .chat_options import chat_options
from .commands import SUBCOMMANDS, Commands
from .completion import chat_matcher
from .connection import Connection, ModelNames
from .context.mentions import mentioned, with_mentions
from .failures import OllamaMagicsError
from .frontend import in_notebook, is_attended
from .interpolate import interpolate
from .last_error import LastError, with_body
from .reporting import reported
from .result import ChatResult
from .search import sources
from .stream_view import NotebookView, TerminalView
from .subcommand import with_options
from .tools import Tools

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@magics_class
class OllamaMagics(Magics):
    """Magics that chat, embed and manage the models of an Ollama server."""

    url = Unicode(
        help="""Address of the server. Empty: JUPYTER_OLLAMA_URL, else the Jupyter server of this
        kernel, else OLLAMA_HOST, else http://127.0.0.1:11434.""",
    ).tag(config=True)
    token = Unicode(
        help="Token for that server. Empty: JUPYTER_OLLAMA_TOKEN or OLLAMA_API_KEY.",
    ).tag(config=True)
    model = Unicode(
        help="""Model of %%chat. Empty: the model used last, else the only one on the server.""",
    ).tag(config=True)
    embed_model = Unicode(
        help="Model of %embed. Empty: the only embedding model on the server.",
    ).tag(config=True)
    system = Unicode(help="System message of conversations without --system.").tag(config=True)
    history_tokens = Int(
        0,
        min=0,
        help="""Longest history of a conversation in tokens; its oldest turns are forgotten. 0: the
        size of the model's context.""",
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
        names that run without a question: "in_stock", or "mcp:SERVER.TOOL" of an MCP server.""",
    ).tag(config=True)
    tool_rounds = Int(
        8, min=1, help="How often a model may call functions before it must answer."
    ).tag(config=True)

    shell: InteractiveShell  # of IPython's Magics, where it may be None

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
        """The connection of the magics to their server."""
        return self._connection

    def unload(self) -> None:
        """Remove everything that loading added to the shell."""
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

    @validate("token")
    def _hide_token(self, proposal: Any) -> str:
        return hidden(proposal.value) or ""

    @validate("url")
    def _hide_password(self, proposal: Any) -> str:
        return hidden_in(proposal.value)

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
    def chat(self, line: str, cell: str) -> ChatResult | None:
        """Send the cell to a model and show its answer while it arrives.

        Later cells continue the conversation. {name}, {name.attribute} and {name[index]} in the
        cell are replaced by the values of variables; other braces stay as they are, and {{name}}
        gives {name}. @name, @cell:3, @file:path, @error and @notebook send what they name above
        the question. An interrupt cancels the answer and keeps the text received so far.

        Returns
        -------
        ChatResult or None
            The answer, which is also in _. None with --show-context.

        Raises
        ------
        OllamaMagicsError
            If an option is wrong or the server refuses the request.

        Examples
        --------
        >>> %%chat smollm2 --temperature 0 --num-predict 5 -o answer
        ... What is the capital of France?
        The capital of France is
        >>> answer.done_reason
        'length'
        """
        namespace = self._namespace()
        unknown: list[str] = []
        args = arguments.parse(self.chat, line, namespace, unknown)
        if not cell.strip() and not args.fix:
            raise OllamaMagicsError("The cell has no prompt. It goes below the line of %%chat.")
        arguments.check_variable(args.output)
        options = arguments.options(args)
        target = self._evaluate(args.schema, namespace) if args.schema else None
        prompt = cell.strip("\n")
        # The values of {name} fields are data: their @ words name nothing.
        parts = [] if args.raw else mentioned(prompt, self.shell, self._last_error)
        prompt = prompt if args.raw else interpolate(prompt, namespace, unknown)
        prompt = self._last_error.prompt(prompt) if args.fix else prompt
        tools = self._tools(args.tools, namespace) if args.tools else None
        message = with_mentions(prompt, parts)
        question = chat_cell.question(
            args, message, target, tools, lambda text: self._evaluate(text, namespace)
        )
        question.tool_rounds = self.tool_rounds
        found = sources.find(
            args.sources, args.sources_k, prompt, lambda text: self._evaluate(text, namespace)
        )
        if found is not None:
            question.add_instruction(found.instruction)
        if args.show_context:
            conversation = self._chats.peek(args.conversation, args.new, args.system or "")
            chat_cell.show_context(question, conversation.before(self.system))
            return None
        view = NotebookView(self.refresh_hz) if in_notebook(self.shell) else TerminalView()
        if args.bg:
            chat_cell.check_background(question, view)
        kind = "json" if args.schema else args.format or "md"
        turn = self._chats.begin(args.conversation, args.new, args.system or "")
        result = ChatResult(args.model, options, turn.conversation, self.show_stats, kind)
        result.schema, result.sources = target, found
        result.remarks = [*arguments.not_replaced(unknown), *parameters.unknown(options)]
        asked = (question, turn, result, view, self.system)
        if args.bg:
            chat_cell.ask_in_background(self._chats, *asked, is_attended(self.shell))
        else:
            self._chats.ask(*asked)
        result.drawn(self.shell.execution_count)
        if args.output:
            self.shell.push({args.output: result})
        if args.format == "code" and result.done_reason != "interrupted" and result.code:
            self.shell.set_next_input(result.code)
        return result

    @magic_arguments()
    # Without a positional, IPython completes the expression as Python.
    @kwds(usage="embed EXPR [--model NAME] [--dimensions N] [-o NAME]")
    @argument(
        "--model", metavar="NAME", help="Embedding model. Default: the only one on the server."
    )
    @argument("--dimensions", type=int, metavar="N", help="Keep the first N dimensions.")
    @argument("-o", dest="output", metavar="NAME", help="Keep the vectors in this variable.")
    @needs_local_scope
    @no_var_expand
    @line_magic
    def embed(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Embed texts: vectors = %embed df.text

        The expression precedes the options.

        Returns
        -------
        DataFrame or ndarray of float32
            A DataFrame with the same index for a Series or a DataFrame of one column, an array
            with a row for each text for a list, one vector for a quoted text. NaN where missing.

        Raises
        ------
        OllamaMagicsError
            If the expression fails or has no texts, or the server refuses the request.

        Examples
        --------
        >>> vectors = %embed ["red", "green"] --model all-minilm
        >>> vectors.shape
        (2, 384)
        """
        expression, rest = arguments.split_expression(line)
        namespace = self._namespace(local_ns)
        args = arguments.parse(self.embed, rest, namespace)
        arguments.check_variable(args.output)
        value = self._evaluate(expression, namespace)
        vectors = self._embed(value, args.model or self.embed_model, args.dimensions)
        if not args.output:
            return vectors
        self.shell.push({args.output: vectors})
        return None

    @magic_arguments()
    @kwds(usage="ollama [COMMAND] [WORDS] [OPTIONS]")
    @argument("command", nargs="?", default="help", help="See %%ollama help.")
    @argument("words", nargs="*", help="A model, file or address, depending on the command.")
    @with_options(SUBCOMMANDS)
    @no_var_expand
    @line_cell_magic
    def ollama(self, line: str, cell: str | None = None) -> Any:
        """Show and manage the server, its models and the conversations.

        A cell is the Modelfile of %%ollama create NAME, without replaced {name} fields.

        Examples
        --------
        >>> models = %ollama list
        >>> "smollm2:latest" in set(models.name)
        True
        >>> %ollama use smollm2
        %%chat uses smollm2:latest.
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

    def _tools(self, names: str, namespace: dict[str, Any]) -> Tools:
        tools: list[Any] = []
        for name in (text.strip() for text in names.split(",")):
            if name.startswith(mcp_tools.PREFIX):
                with reported(self._connection, ""):
                    tools += mcp_tools.find(self._connection.client, name)
            else:
                tools.append(self._evaluate(name, namespace))
        return Tools(tools, self.tool_policy, input)

    def _namespace(self, local_ns: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**self.shell.user_ns, **(local_ns or {})}

    def _evaluate(self, expression: str, namespace: dict[str, Any]) -> Any:
        try:
            return eval(expression, namespace)
        except Exception as error:
            kind = type(error).__name__
            raise OllamaMagicsError(f"{expression} failed: {kind}: {error}") from error
