"""The magics and their settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from IPython.core.magic import (
    Magics,
    cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from IPython.core.magic_arguments import argument, kwds, magic_arguments
from traitlets import Bool, Float, Unicode, observe

from . import arguments, ollama_command
from .chat import Chats
from .completion import model_matcher
from .connection import Connection, ModelNames
from .discovery import discover, parse_host
from .failures import OllamaMagicsError, reported
from .interpolate import interpolate
from .result import ChatResult
from .stream_view import NotebookView, TerminalView, in_notebook


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
    refresh_hz = Float(
        15.0, min=1.0, max=60.0, help="How often a growing answer is redrawn, in a second."
    ).tag(config=True)
    show_stats = Bool(
        True, help="Show the model, the token counts and the speed below an answer."
    ).tag(config=True)

    def __init__(self, shell: Any = None, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self._connection = Connection(lambda: discover(self.url, self.token))
        self._chats = Chats(self._connection)
        self._chats.model = self.model
        self._names = ModelNames(self._connection)
        self._matcher = model_matcher(self._names.get)
        if getattr(shell, "Completer", None) is not None:
            shell.Completer.custom_matchers.append(self._matcher)

    def unload(self) -> None:
        """Take back all that loading added to the shell."""
        self._connection.reset()
        shell: Any = self.shell
        if shell.Completer is not None and self._matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self._matcher)
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

    @observe("model")
    def _model_changed(self, change: Any) -> None:
        if hasattr(self, "_chats"):
            self._chats.model = change.new

    @magic_arguments()
    # The usage line would begin with a single %.
    @kwds(usage="%%chat [MODEL] [OPTIONS]")
    @argument("model", nargs="?", default="", help="Model to ask. Default: the one used last.")
    @argument("--system", "-s", metavar="TEXT", help="System message of the conversation.")
    @argument("--new", action="store_true", help="Begin the conversation afresh.")
    @argument(
        "--conversation",
        "-c",
        metavar="NAME",
        default="default",
        help="Conversation to go on with. Cells that name none share one.",
    )
    @argument("--temperature", type=float, metavar="X", help="0 always picks the likeliest token.")
    @argument("--num-ctx", type=int, metavar="N", help="Size of the context in tokens.")
    @argument("--num-predict", type=int, metavar="N", help="Longest answer in tokens.")
    @argument("--seed", type=int, metavar="N", help="Same seed, same answer.")
    @argument(
        "-p",
        dest="parameter",
        action="append",
        metavar="KEY=VALUE",
        help="Any other model option, such as -p top_k=20. May be repeated.",
    )
    @argument("-o", dest="output", metavar="NAME", help="Keep the result in this variable, too.")
    @argument("--raw", action="store_true", help="Send the cell as it is, {name} fields included.")
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
        if not cell.strip():
            raise OllamaMagicsError("The cell has no prompt. It goes below the line of %%chat.")
        options = arguments.options(args)
        view = NotebookView(self.refresh_hz) if in_notebook(self.shell) else TerminalView()
        conversation = self._chats.conversation(args.conversation, args.new)
        conversation.system = args.system or conversation.system
        prompt = cell.strip("\n")
        prompt = prompt if args.raw else interpolate(prompt, namespace)
        result = self._chats.ask(
            conversation.asking(prompt, self.system),
            conversation,
            view,
            model=args.model,
            options=options,
            stats=self.show_stats,
        )
        result.drawn(self.shell.execution_count)
        if args.output:
            self._store(args.output, result)
        return result

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
    @argument("command", nargs="?", default="help", help="See %%ollama help.")
    @argument("words", nargs="*", help="A model or an address, as the command wants.")
    @argument("--token", default="", help="Token for connect.")
    @argument("--insecure", action="store_true", help="Let pull ask a registry by plain HTTP.")
    @no_var_expand
    @line_magic
    def ollama(self, line: str) -> Any:
        """Look at the server and its models, and choose among them."""
        args = arguments.parse(self.ollama, line, self._namespace())
        connection = self._connection
        actions: dict[str, Callable[..., Any]] = {
            "list": lambda: ollama_command.list_models(connection),
            "ps": lambda: ollama_command.list_loaded(connection),
            "show": lambda name: print(ollama_command.describe(connection, name)),  # noqa: T201
            "pull": lambda name: self._pull(name, args.insecure),
            "use": self._use,
            "version": self._version,
            "connect": lambda url="": self._connect(url, args.token),
            "help": lambda: print(ollama_command.HELP),  # noqa: T201
        }
        with reported(connection, args.words[0] if args.words else None):
            return ollama_command.run(args.command, args.words, actions)

    def _pull(self, name: str, insecure: bool) -> None:
        from . import pull

        with closing(self._connection.client.pull(name, insecure=insecure or None)) as steps:
            if in_notebook(self.shell):
                pull.show_in_notebook(steps, self.refresh_hz)
            else:
                pull.show_in_terminal(steps)
        self._names.forget()

    def _use(self, name: str) -> None:
        entry = self._connection.entry(name)
        if entry is None:
            raise OllamaMagicsError(f"model '{name}' not found{self._connection.suggestion(name)}")
        abilities = self._connection.capabilities(entry)
        embeds_only = "embedding" in abilities and "completion" not in abilities
        if embeds_only:
            self.embed_model = entry["name"]
        else:
            self.model = self._chats.model = entry["name"]
        magic = "%embed" if embeds_only else "%%chat"
        print(f"{magic} uses {entry['name']}.")  # noqa: T201

    def _version(self) -> None:
        endpoint = self._connection.endpoint
        version = self._connection.client.version()
        print(f"Ollama API {version} at {endpoint.url} ({endpoint.source})")  # noqa: T201

    def _connect(self, url: str, token: str) -> None:
        """Use another server, after it has answered."""
        endpoint = discover(parse_host(url), token) if url else discover()
        client = endpoint.client()
        try:
            client.version()
        finally:
            client.close()
        self.url, self.token = (endpoint.url, token) if url else ("", "")
        self._connection.reset()
        self._names.forget()
        self._version()

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
