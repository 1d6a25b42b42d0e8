"""Write the reference pages from the code, so that they cannot differ from it.

`python docs/reference.py` updates the table of bounds in security.md and the table of %ollama in
the README of the magics.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import http_reference
from IPython.core.magic_arguments import real_name
from jupyter_ollama_client import Client, ServerAddress, discover
from jupyter_ollama_client.async_client import AsyncClient
from jupyter_ollama_magics import Job, duckdb_functions, endpoint
from jupyter_ollama_magics.accessor import FrameRows, SeriesRows
from jupyter_ollama_magics.commands import SUBCOMMANDS
from jupyter_ollama_magics.magics import OllamaMagics
from jupyter_ollama_magics.partitions import OllamaRows
from jupyter_ollama_magics.rows.registry import OPERATORS
from jupyter_ollama_magics.subcommand import help_text, markdown_rows
from jupyter_ollama_magics.widgets import Chat, ModelManager, PullProgress
from traitlets import Float, HasTraits, Int, TraitType
from traitlets.utils.importstring import import_item

from jupyter_ollama.cli.app import COMMANDS, OllamaApp
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.environment import Duration
from jupyter_ollama.hub.authorizer import OllamaAuthorizer
from jupyter_ollama.hub.slurm.settings import SlurmEndpoint

CONFIGURABLE: tuple[type[HasTraits], ...] = (
    OllamaServer,
    OllamaMagics,
    OllamaAuthorizer,
    SlurmEndpoint,
)


BEGIN, END = "<!-- bounds: written by reference.py -->", "<!-- end of bounds -->"


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {
        "settings": settings(),
        "commands": commands(),
        "magics": magics(),
        "accessor": accessor(),
        "python": python(),
        "api": http_reference.page(),
    }
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
        for name, trait in sorted(own_traits(kind).items()):
            text = " ".join(trait.help.split())
            known = "" if "Default:" in text else f", default `{trait.default_value_repr()}`"
            yield f"`c.{kind.__name__}.{name}` ({type(trait).__name__}{known})"
            yield f": {text}\n"


def own_traits(kind: type[HasTraits]) -> dict[str, TraitType[Any, Any]]:
    """Return the settings of a class, also those that it inherits from classes of ours."""
    return {
        name: trait
        for name, trait in kind.class_traits(config=True).items()
        if trait.this_class and trait.this_class.__module__.startswith("jupyter_ollama")
    }


def bounds() -> str:
    """Return the table of all settings that are numbers, with the reasons for their defaults."""
    lines = ["| setting | default | what it bounds, and why |", "|---|---|---|"]
    named = dict(sorted(own_traits(OllamaServer).items()))
    slurm = sorted(own_traits(SlurmEndpoint).items())
    named |= {f"SlurmEndpoint.{name}": trait for name, trait in slurm}
    for name, trait in named.items():
        if isinstance(trait, (Int, Float, Duration)):
            text = " ".join(trait.help.split()).replace("|", "\\|")
            value = "" if "Default:" in text else f"`{_readable(trait.default_value)}`"
            lines.append(f"| `{name}` | {value} | {text} |")
    return "\n".join(lines)


def with_bounds(page: str) -> str:
    """Return a page with the present table of bounds between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{bounds()}\n{END}{after}"


def with_subcommands(page: str) -> str:
    """Return the README of the magics with the present table of the subcommands of %ollama."""
    rows = "".join(f"{row}\n" for row in markdown_rows(SUBCOMMANDS))
    return re.sub(r"(?:^\| `%+ollama.*\n)+", lambda _: rows, page, flags=re.M)


def _readable(value: float) -> str:
    """Write a number; whole mebibytes as such."""
    if isinstance(value, int) and value and value % 2**20 == 0:
        return f"{value >> 20} MiB"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    yield _code(help_text(SUBCOMMANDS))


def accessor() -> Iterator[str]:
    """Yield the signatures and the help of ``.ollama`` and OllamaRows."""
    yield "# .ollama on DataFrames\n"
    yield "Operators have an async twin with the same arguments, such as `await s.ollama.achat()`."
    twins = {f"a{name}" for name in OPERATORS}
    for name in (name for name in dir(SeriesRows) if name[0] != "_" and name not in twins):
        yield from _documented(f".ollama.{name}", getattr(SeriesRows, name))
    yield from _documented(".ollama.similar of a DataFrame", FrameRows.similar)
    yield from _documented("OllamaRows", OllamaRows)
    yield from _documented("jupyter_ollama_magics.duckdb_functions", duckdb_functions)


def _documented(title: str, item: Any) -> Iterator[str]:
    signature = inspect.signature(item)
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    bare = signature.replace(parameters=parameters, return_annotation=signature.empty)
    yield f"\n## {title}\n\n`{item.__name__}{bare}`\n"
    yield _code(inspect.getdoc(item) or "")


def python() -> Iterator[str]:
    """Yield the classes and functions for programs."""
    yield "# Python\n"
    yield (
        "`jupyter_ollama_client` needs no IPython, no Jupyter. The tests run the examples of the "
        "docstrings; in them `url` is the address of a server.\n\nEvery call raises a subclass of "
        "`OllamaClientError`: `OllamaResponseError` if the server refuses, with `status` and its "
        "message, and `OllamaConnectionError` if it cannot be reached."
    )
    for kind in (Client, AsyncClient):
        yield from _documented(kind.__name__, kind)
        for name in (name for name in dir(kind) if name[0] != "_"):
            if callable(method := getattr(kind, name)):
                yield from _documented(f"{kind.__name__}.{name}", method)
    for item in (discover, ServerAddress):
        yield from _documented(item.__name__, item)
    yield from _documented("jupyter_ollama_magics.endpoint", endpoint)
    yield from _documented("jupyter_ollama_magics.Job", Job)
    for name in ("load", "wait", "cancel", "frame", "delete", "refresh"):
        yield from _documented(f"Job.{name}", getattr(Job, name))
    for widget in (Chat, ModelManager, PullProgress):
        yield from _documented(f"jupyter_ollama_magics.widgets.{widget.__name__}", widget)


def _printed(app: OllamaApp) -> str:
    with redirect_stdout(io.StringIO()) as out:
        app.print_help()
    # Paths of the machine that builds the documentation say nothing to others.
    return re.sub(re.escape(str(Path.home())), "~", out.getvalue())


def _code(text: str | Iterable[str]) -> str:
    body = text if isinstance(text, str) else "\n".join(text)
    return f"```text\n{body.strip(chr(10))}\n```"


if __name__ == "__main__":
    docs = Path(__file__).parent
    for path, renew in (
        (docs / "security.md", with_bounds),
        (docs.parent / "magics" / "README.md", with_subcommands),
    ):
        path.write_text(renew(path.read_text("utf-8")), "utf-8")
