"""Configuration files of other programs: the difference, the change, the way back."""

from __future__ import annotations

import difflib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..command import CommandError
from .documents import FORMATS, Change, UnreadableError

BACKUP = ".before-jupyter-ollama"
"""The ending of the copy of a file, beside it, as it was before the first change."""
ABSENT = ".absent-before-jupyter-ollama"
"""The ending of an empty file that stands for a file which did not exist."""


_SECRET = re.compile(
    r"""((?:key|token|secret|password|authorization)[\w-]*["']?\s*[:=]\s*["']?(?:Bearer\s+)?)
    [^\s"',}]+""",
    re.IGNORECASE | re.VERBOSE,
)
"""Values that a diff on a screen must not show, of any program."""
_SECRET_PROPERTY = re.compile(r"""(["']api_key["'],?\n.*["']value["']:\s*["'])[^"']+""")
"""The same where the name of a value is on the line before it, as in Notebook Intelligence."""


@dataclass(frozen=True)
class Edit:
    """A change of a configuration file. ``format`` is "json", "yaml" or "toml"."""

    path: Path
    format: str
    change: Change


@dataclass(frozen=True)
class Planned:
    """A file before and after a change; ``old`` is None for a new file."""

    path: Path
    old: str | None
    new: str

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return self.old != self.new

    def difference(self, secret: str = "") -> str:
        """Return the change as a unified diff, with "…" in place of the secret and of keys."""
        lines = difflib.unified_diff(
            (self.old or "").splitlines(),
            self.new.splitlines(),
            str(self.path) if self.old is not None else "(a new file)",
            str(self.path),
            lineterm="",
            n=2,
        )
        text = "\n".join(lines)
        text = text.replace(secret, "…") if secret else text
        return _SECRET_PROPERTY.sub(r"\1…", _SECRET.sub(r"\1…", text))


def plan(edit: Edit) -> Planned:
    """Return a file before and after a change. Nothing is written.

    Raises CommandError for a file that cannot be read or changed without a loss.
    """
    path = edit.path.expanduser()
    try:
        path = path.resolve()  # a link to a folder of dotfiles stays one
        old = path.read_bytes().decode() if path.exists() else None
        new = FORMATS[edit.format](old or "", edit.change)
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8; it stays as it is") from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except UnreadableError as error:
        addition = FORMATS[edit.format]("", edit.change)
        raise CommandError(
            f"{path} stays as it is: {error}. Add this to it yourself:\n{addition}"
        ) from error
    return Planned(path, old, new)


def write(planned: Planned, private: bool) -> None:
    """Write a planned file atomically, after a copy of the file as it was before the first change.

    A file with a token is readable for its owner only. Raises CommandError.
    """
    path = planned.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep(planned)
        mode = 0o600 if private or planned.old is None else path.stat().st_mode & 0o777
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(planned.new.encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"{error.filename or path}: {error.strerror}") from error


def restorable(path: Path) -> Planned | None:
    """Return what ``restore`` would do to a file: ``new`` is "" if it goes. None: nothing to do."""
    path = path.expanduser().resolve()
    backup, absent = _beside(path, BACKUP), _beside(path, ABSENT)
    if not backup.exists() and not absent.exists():
        return None
    old = path.read_bytes().decode(errors="replace") if path.exists() else None
    new = backup.read_bytes().decode(errors="replace") if backup.exists() else ""
    return Planned(path, old, new)


def restore(path: Path) -> str:
    """Put back a file, byte for byte, or remove one that was new; return a sentence about it."""
    path = path.expanduser().resolve()
    backup, absent = _beside(path, BACKUP), _beside(path, ABSENT)
    try:
        if backup.exists():
            backup.replace(path)
            return f"Restored: {path}"
        path.unlink(missing_ok=True)
        absent.unlink()
    except OSError as error:
        raise CommandError(f"{error.filename or path}: {error.strerror}") from error
    return f"Removed, as it did not exist before: {path}"


def _keep(planned: Planned) -> None:
    """Copy a file as it is before the first change; later changes leave that copy alone."""
    path = planned.path
    backup, absent = _beside(path, BACKUP), _beside(path, ABSENT)
    if backup.exists() or absent.exists():
        return
    if planned.old is None:
        absent.touch(mode=0o600)
        return
    temporary = _beside(path, f"{BACKUP}.{secrets.token_hex(6)}")
    shutil.copy2(path, temporary)  # its mode and times are restored, too
    temporary.replace(backup)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
