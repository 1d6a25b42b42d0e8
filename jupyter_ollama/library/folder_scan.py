"""GGUF files in folders of other programs, under the names that those programs use.

Supported are the cache of the Hugging Face hub, LM Studio's ``publisher/repository/file.gguf``,
llama.cpp's cache, and folders of files. A file from a repository is ``hf.co/user/repository``
with its quantization as the tag, as in Ollama; any other file has its own name.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .folders import Folders
from .name import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, InvalidName, ModelName
from .regular_file import read_regular

HUB = "hf.co"
_DEPTH = 3
LONGEST_REVISION = 4096
"""Bytes of the file that names a revision."""
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
_QUANTIZATION = re.compile(
    r"(.*?)[-._]?((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|B?F16|F32|MXFP4\w*))", re.IGNORECASE
)
_HUB_FOLDER = re.compile(r"models--(.+?)--(.+)")
_LLAMA_CPP_RECORD = re.compile(r"manifest=([^=]+)=([^=]+)=[^=]+\.json")

Repository = tuple[str, str]


class FoundFile(NamedTuple):
    """A model: the parts of its weights, usually one, and the projectors beside them."""

    name: ModelName
    weights: tuple[Path, ...]
    projectors: tuple[Path, ...]


def scan(root: Path, folders: Folders) -> Iterator[FoundFile]:
    """Yield the models in a folder; none if it cannot be read."""
    groups: dict[tuple[str, Repository | None], list[Path]] = defaultdict(list)
    for path, repository in _files(root, folders):
        groups[str(path.parent), repository].append(path)
    seen: set[ModelName] = set()
    for (_, repository), paths in sorted(groups.items(), key=lambda group: group[0][0]):
        projectors = tuple(path for path in paths if "mmproj" in path.name.lower())
        for weights in _models(path for path in paths if path not in projectors):
            names = _names(_stem(weights[0]), repository)
            name = next((name for name in names if name not in seen), None)
            if name:
                seen.add(name)
                yield FoundFile(name, weights, projectors[:1])


def _files(root: Path, folders: Folders) -> Iterator[tuple[Path, Repository | None]]:
    """Yield GGUF files, each with its repository if the path reveals it."""
    flat = _llama_cpp_prefixes(root, folders)
    for name, path, is_folder in _entries(folders, root):
        hub = _HUB_FOLDER.fullmatch(name)
        if is_folder and hub:
            for file in _below(_snapshot(path), folders):
                yield file, (hub[1], hub[2])
        elif is_folder:
            for file in _below(path, folders, _DEPTH - 1):
                parts = file.relative_to(root).parts
                yield file, (parts[0], parts[1]) if len(parts) == 3 else None
        elif name.endswith(".gguf"):
            yield Path(path), next((flat[head] for head in flat if name.startswith(head)), None)


def _entries(folders: Folders, folder: Path | str) -> list[tuple[str, str, bool]]:
    try:
        return sorted(folders.entries(str(folder)))
    except OSError:
        return []


def _below(folder: str, folders: Folders, depth: int = _DEPTH) -> Iterator[Path]:
    for name, path, is_folder in _entries(folders, folder):
        if is_folder and depth > 1 and not name.startswith("."):
            yield from _below(path, folders, depth - 1)
        elif name.endswith(".gguf") and not is_folder:
            yield Path(path)


def _snapshot(folder: str) -> str:
    """Return the folder of the revision that the hub's cache holds for a repository."""
    try:
        revision = read_regular(Path(folder, "refs", "main"), LONGEST_REVISION).decode().strip()
    except (OSError, UnicodeDecodeError):
        revision = ""
    snapshots = Path(folder, "snapshots")
    if not revision or not (snapshots / revision).is_dir():
        others = snapshots.iterdir() if snapshots.is_dir() else ()
        newest = max(others, key=lambda path: path.stat().st_mtime, default=snapshots)
        return str(newest)
    return str(snapshots / revision)


def _llama_cpp_prefixes(root: Path, folders: Folders) -> dict[str, Repository]:
    """Return the prefixes that llama.cpp gives to the files of each downloaded repository."""
    records = (_LLAMA_CPP_RECORD.fullmatch(name) for name, _, _ in _entries(folders, root))
    found = {f"{record[1]}_{record[2]}_": (record[1], record[2]) for record in records if record}
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _models(paths: Iterator[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield the files of each model; a split model only if all of its parts exist."""
    files = {path.name: path for path in paths}
    for path in files.values():
        split = _SPLIT.fullmatch(path.stem)
        if not split:
            yield (path,)
        elif int(split[2]) == 1:
            names = [
                f"{split[1]}-{number:05}-of-{split[3]}.gguf"
                for number in range(1, int(split[3]) + 1)
            ]
            if all(name in files for name in names):
                yield tuple(files[name] for name in names)


def _stem(path: Path) -> str:
    split = _SPLIT.fullmatch(path.stem)
    return split[1] if split else path.stem


def _names(stem: str, repository: Repository | None) -> Iterator[ModelName]:
    """Yield the candidate names of a file, the best first."""
    found = _QUANTIZATION.fullmatch(stem)
    base, tag = (found[1], found[2]) if found else (stem, "")
    wanted = [(DEFAULT_HOST, DEFAULT_NAMESPACE, _clean(base), tag or DEFAULT_TAG)]
    wanted.append((DEFAULT_HOST, DEFAULT_NAMESPACE, _clean(stem), DEFAULT_TAG))
    if repository:
        tags = [tag, _clean(stem)] if tag else [_clean(stem)]
        wanted = [(HUB, *repository, label) for label in tags] + wanted
    for parts in wanted:
        with contextlib.suppress(InvalidName):
            yield ModelName(*parts)


def _clean(text: str) -> str:
    """Replace the characters that names cannot contain."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("-.")
