"""Autoload: lines in IPython's configuration that add the magics to every new kernel."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

EXTENSION = "jupyter_ollama_magics"
NAMES = {EXTENSION, "jupyter_ollama"}
"""The extensions that add the magics."""

FILE = "ipython_config.py"

_BEGIN = "# jupyter-ollama: begin (`jupyter ollama setup --no-autoload` removes these lines)"
_END = "# jupyter-ollama: end"
# Other environments that use the same profile may lack the magics, which is no error there.
_BLOCK = f"""\
{_BEGIN}
if __import__("importlib.util").util.find_spec("{EXTENSION}"):
    c.InteractiveShellApp.extensions.append("{EXTENSION}")
{_END}
"""
_FOUND = re.compile(
    rf"(?:\A|\r?\n){re.escape(_BEGIN)}\r?\n.*?\n{re.escape(_END)}(?:\r?\n|\Z)", re.DOTALL
)


class AutoloadError(Exception):
    """The configuration of IPython cannot be changed; the text says why and what to do."""


def config_file(profile: str | Path = "default") -> Path:
    """Return the configuration of a profile of IPython: of its name, or of its folder."""
    from IPython.paths import get_ipython_dir

    if isinstance(profile, str) and not Path(profile).is_absolute():
        profile = Path(get_ipython_dir()) / f"profile_{profile}"
    return Path(profile) / FILE


def is_enabled(profile: str | Path = "default") -> bool:
    """Return whether new kernels of a profile load the magics.

    Raises AutoloadError if the configuration cannot be read.
    """
    return _loads(_read(config_file(profile)))


def enable(profile: str | Path = "default") -> bool:
    """Have new kernels of a profile load the magics; return False if they do so already.

    Other lines of the configuration stay as they are. Raises AutoloadError if it cannot be read,
    parsed or written.
    """
    path = config_file(profile)
    text = _read(path)
    if _loads(text):
        return False
    newline = "\r\n" if "\r\n" in text else "\n"
    block = ("\n" if text else "") + _BLOCK
    _write(path, text + block.replace("\n", newline))
    return True


def disable(profile: str | Path = "default") -> bool:
    """Remove what ``enable`` has added; return False if there is nothing to remove.

    The configuration is then what it was before, byte for byte; a file that ``enable`` has created
    is removed. Raises AutoloadError, also if other lines of the configuration load the magics.
    """
    path = config_file(profile)
    text = _read(path)
    rest = _FOUND.sub("", text)
    if rest == text:
        if _loads(text):
            raise AutoloadError(f"{path} loads the magics in lines of your own. Remove them there.")
        return False
    if rest:
        _write(path, rest)
    else:
        with _reported(path):
            path.unlink()
    return True


def _loads(text: str) -> bool:
    """Return whether a configuration names one of the extensions, in code rather than comments."""
    names = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return any(name in NAMES for name in names if isinstance(name, str))


def _read(path: Path) -> str:
    with _reported(path):
        try:
            # Line ends stay as they are.
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return ""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        raise AutoloadError(f"{path} has a syntax error{where}. Nothing was changed.") from error
    return text


def _write(path: Path, text: str) -> None:
    with _reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link stays a link: the file that it leads to is replaced.
        path = path.resolve()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, name)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AutoloadError(f"{path}: {error.strerror}. Nothing was changed.") from error
    except UnicodeDecodeError as error:
        raise AutoloadError(f"{path} is not UTF-8. Nothing was changed.") from error
