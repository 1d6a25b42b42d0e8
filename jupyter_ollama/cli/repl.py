"""The conversation on a terminal: reads lines, obeys slash commands, asks the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from jupyter_ollama_client.errors import OllamaResponseError
from jupyter_ollama_client.modelfile import InvalidModelfile, parse

from .command import CommandError, note, say
from .conversation import ChatHistory
from .hint import HINT, show_until_key
from .show import PARTS, summary

with contextlib.suppress(ImportError):
    import readline  # noqa: F401 - importing it gives input() editing and history

PROMPT, MORE = ">>> ", "... "
QUOTES = '"""'
HELP = '''\
Available commands:
  /set system TEXT           the system message from here on
  /set parameter NAME VALUE  an option of the model, for instance temperature 0
  /set verbose | quiet       print times and rates, or not
  /set think | nothink       let a thinking model think, or not
  /show [PART]               facts of the model, or its modelfile, parameters, template,
                             system or license
  /clear                     forget what was said
  /bye                       leave (also Ctrl-D)
  /?                         this list

Begin with """ for several lines, and end them with """. Ctrl-C stops an answer.'''


class Repl:
    """Reads a line, acts, prints, until the user leaves."""

    def __init__(self, conversation: ChatHistory) -> None:
        self.conversation = conversation
        self.settings = conversation.settings
        self.commands: dict[str, Callable[[str], None]] = {
            "/set": self.set,
            "/show": self.show,
            "/clear": self.clear,
            "/?": self.help,
            "/help": self.help,
        }

    def loop(self) -> None:
        """Go on until /bye or the end of the input."""
        hinted = False
        while True:
            try:
                if not show_until_key(PROMPT) and not hinted:
                    say(HINT)
                hinted = True
                text = read()
            except KeyboardInterrupt:
                say("\nCtrl-D or /bye leaves.")
                continue
            except EOFError:
                say()
                return
            if text.strip() == "/bye":
                return
            try:
                self.act(text)
            except (CommandError, OllamaResponseError) as error:
                note(f"Error: {error}")

    def act(self, text: str) -> None:
        """Obey a command or ask the model."""
        verb, _, rest = text.strip().partition(" ")
        if verb in self.commands:
            self.commands[verb](rest.strip())
        elif verb.startswith("/") and "/" not in verb[1:]:
            raise CommandError(f"unknown command '{verb}'. Type /? for help")
        elif text.strip():
            self.conversation.ask(text)
            say()

    def help(self, rest: str) -> None:
        """Print the commands."""
        say(HELP)

    def clear(self, rest: str) -> None:
        """Forget the turns so far."""
        self.conversation.messages.clear()
        say("Cleared session context")

    def show(self, rest: str) -> None:
        """Print facts of the model."""
        facts = self.conversation.client.show(self.settings.model)
        if rest in ("", "info"):
            say(summary(facts))
        elif rest in PARTS:
            say(str(facts.get(rest) or f"The model has no {rest}."))
        else:
            raise CommandError("/show knows " + ", ".join(("info", *PARTS)))

    def set(self, rest: str) -> None:
        """Change a setting for the questions that follow."""
        what, _, value = rest.partition(" ")
        if what in ("verbose", "quiet"):
            self.settings.verbose = what == "verbose"
        elif what in ("think", "nothink"):
            self.settings.think = what == "think"
        elif what == "system" and value.strip():
            self.settings.system = unquote(value.strip())
            say("Set system message.")
        elif what == "parameter":
            self.set_parameter(value)
        else:
            raise CommandError(
                "usage: /set system TEXT, /set parameter NAME VALUE, "
                "/set verbose, quiet, think or nothink"
            )

    def set_parameter(self, text: str) -> None:
        """Set one option, given as ``NAME VALUE``, by the rules of a Modelfile."""
        name, _, value = text.strip().partition(" ")
        try:
            body, _ = parse(f"FROM {self.settings.model}\nPARAMETER {text}\n").to_request(Path())
        except InvalidModelfile as error:
            raise CommandError(
                str(error) if value else "usage: /set parameter NAME VALUE"
            ) from error
        self.settings.options.update(body.get("parameters", {}))
        say(f"Set parameter '{name}' to '{value.strip()}'")


def read() -> str:
    """Read one line, or all lines up to a closing triple quote; EOFError at the end of input."""
    text = input(PROMPT)
    if QUOTES not in text:
        return text
    head, _, rest = text.partition(QUOTES)
    while QUOTES not in rest:
        rest += "\n" + input(MORE)
    return (head + rest.partition(QUOTES)[0]).strip("\n")


def unquote(text: str) -> str:
    """Return a text without the double quotes around it."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if quoted else text
