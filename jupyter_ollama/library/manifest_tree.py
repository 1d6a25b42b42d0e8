"""The tree of manifests: host, namespace and model are folders, the tag is a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from .folders import Folders
from .name import InvalidName, ModelName


def manifest_files(
    folders: Folders, root: Path, unreadable: list[OSError]
) -> list[tuple[ModelName, str]]:
    """Return the manifest files whose paths are names; errors of folders are collected."""
    found: list[tuple[ModelName, str]] = []

    def visit(folder: str, parts: tuple[str, ...]) -> None:
        try:
            entries = folders.entries(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            unreadable.append(error)
            return
        for entry, path, is_folder in entries:
            if len(parts) < 3:
                if is_folder:
                    visit(path, (*parts, entry))
            elif not is_folder and (name := _name(*parts, entry)):
                found.append((name, path))

    visit(str(root), ())
    return found


@lru_cache(maxsize=4096)
def _name(host: str, namespace: str, model: str, tag: str) -> ModelName | None:
    try:
        return ModelName(host, namespace, model, tag)
    except InvalidName:
        return None


def existing(folder: Path, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the longest existing prefix of the parts, compared without case."""
    if not parts:
        return ()
    best: tuple[str, ...] = ()
    for entry in _casings(folder, parts[0]):
        found = (entry, *existing(folder / entry, parts[1:]))
        if len(found) > len(best):
            best = found
        if len(best) == len(parts):
            break
    return best


def _casings(folder: Path, part: str) -> list[str]:
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    wanted = part.lower()
    same = [entry for entry in entries if entry.isascii() and entry.lower() == wanted]
    return sorted(same, key=lambda entry: (entry != part, entry))
