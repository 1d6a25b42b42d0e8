"""The cache of GGUF headers: one entry a path, within a budget of memory."""

from __future__ import annotations

import os
from pathlib import Path

from tiny_gguf import write_gguf

from jupyter_ollama.library.header_cache import HeaderCache


def test_a_file_is_read_once(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    cache = HeaderCache()
    assert cache.read(path) is cache.read(path)


def test_only_the_newest_version_of_a_path_is_kept(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", general__name="first")
    cache = HeaderCache()
    cache.read(path)
    used = cache.used
    for second in range(5):
        os.utime(path, (second, second))
        cache.read(path)
    assert (len(cache), cache.used) == (1, used)
    write_gguf(path, general__name="after")
    assert cache.read(path).metadata["general.name"] == "after"


def test_the_header_used_least_recently_is_evicted(tmp_path: Path) -> None:
    paths = [write_gguf(tmp_path / f"{name}.gguf") for name in "abc"]
    cache = HeaderCache()
    first = cache.read(paths[0])
    cache.budget = 2 * cache.used
    second = cache.read(paths[1])
    assert cache.read(paths[0]) is first
    cache.read(paths[2])
    assert len(cache) == 2
    assert cache.read(paths[0]) is first
    assert cache.read(paths[1]) is not second


def test_a_header_above_the_budget_is_returned_but_not_kept(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    cache = HeaderCache(budget=1)
    assert cache.read(path).architecture == "llama"
    assert (len(cache), cache.used) == (0, 0)
