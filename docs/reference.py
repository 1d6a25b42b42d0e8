"""Write the reference pages from the code, so that they cannot differ from it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

from IPython.core.magic_arguments import real_name
from jupyter_ollama_magics import ollama_command
from jupyter_ollama_magics.magics import OllamaMagics
from traitlets import HasTraits
from traitlets.utils.importstring import import_item

from jupyter_ollama.api.openapi import document
from jupyter_ollama.cli.app import COMMANDS, OllamaApp
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.hub.authorizer import OllamaAuthorizer

CONFIGURABLE: tuple[type[HasTraits], ...] = (OllamaServer, OllamaMagics, OllamaAuthorizer)


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {"settings": settings(), "commands": commands(), "magics": magics(), "api": api()}
    for name, lines in pages.items():
        text = "\n".join(lines) + "\n"
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def settings() -> Iterator[str]:
    """Yield the settings of servers, magics and the Hub's rights."""
    yield "# Settings\n"
    yield (
        "Servers read `jupyter_ollama_config.py` and the command line "
        "(`--OllamaServer.keep_alive=1h`), magics `ipython_config.py` and `%config`."
    )
    for kind in CONFIGURABLE:
        yield f"\n## {kind.__name__}\n\n{(kind.__doc__ or '').strip().splitlines()[0]}\n"
        for name, trait in sorted(kind.class_own_traits(config=True).items()):
            text = " ".join(trait.help.split())
            known = "" if "Default:" in text else f", default `{trait.default_value_repr()}`"
            yield f"`c.{kind.__name__}.{name}` ({type(trait).__name__}{known})"
            yield f": {text}\n"


def commands() -> Iterator[str]:
    """Yield what the commands say of themselves."""
    yield "# Commands\n"
    yield _code(_printed(OllamaApp()))
    for name, (path, text) in COMMANDS.items():
        yield f"\n## jupyter ollama {name}\n\n{text[0].upper()}{text[1:]}.\n"
        yield _code(_printed(import_item(path)()))


def magics() -> Iterator[str]:
    """Yield the help of the magics."""
    yield "# Magics\n"
    for sign, magic in (("%%", OllamaMagics.chat), ("%", OllamaMagics.embed)):
        yield f"\n## {sign}{real_name(magic)}\n"
        yield _code(magic.__doc__ or "")
    yield "\n## %ollama\n"
    yield _code(ollama_command.HELP)


def api() -> Iterator[str]:
    """Yield the paths of the API."""
    yield "# HTTP API\n"
    yield "Below `/ollama` of a Jupyter server, which describes all of it at `/openapi.json`.\n"
    yield "| | path | |\n|---|---|---|"
    for path, item in sorted(document()["paths"].items()):
        for method, operation in item.items():
            if method in ("get", "post", "delete", "put", "head"):
                summary = operation.get("summary", "").replace("|", "\\|")
                yield f"| {method.upper()} | `{path}` | {summary} |"


def _printed(app: OllamaApp) -> str:
    with redirect_stdout(io.StringIO()) as out:
        app.print_help()
    # Paths of the machine that builds the documentation say nothing to others.
    return re.sub(re.escape(str(Path.home())), "~", out.getvalue())


def _code(text: str | Iterable[str]) -> str:
    body = text if isinstance(text, str) else "\n".join(text)
    return f"```text\n{body.strip(chr(10))}\n```"
