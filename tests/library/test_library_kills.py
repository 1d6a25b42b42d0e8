"""`kill -9` at random moments of creations, and many processes at once on one store.

CREATE_KILLS=50 in the environment makes it fifty kills; without it there are nine.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import starter_models
from peers import faulty_registry
from tiny_gguf import write_gguf

from jupyter_ollama.library.blob_marks import GRACE_SECONDS
from jupyter_ollama.library.check import Leftovers, Needs, faults
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

KILLS = int(os.environ.get("CREATE_KILLS", "9"))
HERE = Path(__file__).parent
PATH = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
Start = Callable[[Store], "subprocess.Popen[str]"]


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script beside this one and wait until it has begun."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        env={**os.environ, "PYTHONPATH": PATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() in ("ready\n", "done\n")
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check(store: Store) -> None:
    """Assert that all named blobs are complete, and all other blobs are marked as ours."""
    needs = Needs(store, store.names())
    assert needs.unreadable == {}
    assert [fault.reason for fault in faults(store, needs, lambda count: None)] == []
    known = needs.blobs.keys() | store.marks.digests()
    assert {path.name.replace("-", ":", 1) for path in store.blobs.glob("sha256*")} <= known


def check_after_all(store: Store) -> None:
    """Assert that no unneeded blob remains after the time for uploads."""
    long_ago = time.time() - GRACE_SECONDS - 1
    for path in store.blobs.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    store.prepare()
    check(store)
    left = Leftovers(store)
    assert (left.ours, left.others) == ([], [])
    assert store.marks.digests() == set()
    assert [path for path in store.root.rglob("*") if path.suffix in (".tmp", ".hold")] == []


@pytest.fixture
def creations(tmp_path: Path, scratch_store: Path) -> list[Start]:
    """Start a creation of each kind in a separate process."""
    gguf = write_gguf(tmp_path / "new.gguf", general__file_type=1)
    with gguf.open("ab") as file:
        file.write(bytes(60_000_000))  # slow enough to be killed meanwhile
    folder = starter_models.cache_folder() / "all-minilm"
    safetensors, _ = starter_models.STARTERS["all-minilm"].read(folder)
    kinds = [
        ({"system": "Be brief."}, {"new.gguf": [gguf]}),
        ({"from": "smollm2", "quantize": "Q4_0"}, {}),
        ({"quantize": "Q8_0"}, safetensors),
    ]

    def starter(body: dict[str, str], files: dict[str, list[Path]]) -> Start:
        pairs = [f"{name}={paths[0]}" for name, paths in files.items()]
        return lambda store: start(
            "interrupted_create.py", str(store.root), "new", json.dumps(body), *pairs
        )

    return [starter(*kind) for kind in kinds]


def test_no_kill_of_a_creation_breaks_the_store(
    scratch_store: Path, creations: list[Start]
) -> None:
    store = Library.open(scratch_store).store
    before = store.names()
    lasting = []
    for creation in creations:
        began = time.monotonic()
        assert creation(store).wait(60) == 0
        lasting.append(time.monotonic() - began)
    dice = random.Random(time.time_ns())
    for number in range(KILLS):
        for name in set(store.names()) - set(before):
            store.delete(name)
        process = creations[number % 3](store)
        time.sleep(dice.uniform(0.0, lasting[number % 3]))
        kill(process)
        store = Library.open(scratch_store).store
        check(store)
        assert set(before) <= set(store.names())
    for creation in creations:
        assert creation(store).wait(60) == 0
        check(store)
    check_after_all(store)


def test_many_processes_on_one_store_some_of_them_killed(store: Store, tmp_path: Path) -> None:
    files = [
        str(write_gguf(tmp_path / f"{number}.gguf", llama__context_length=number))
        for number in range(1, 3)
    ]
    weights = [Path(path).read_bytes() for path in files]
    with faulty_registry() as registry:
        registry.publish("me/one", *weights)
        registry.publish("me/two", weights[0], b"other")
        for round_ in range(2):
            processes = [
                start("hammering.py", str(store.root), f"{round_} {n}", registry.host, *files)
                for n in range(4)
            ]
            time.sleep(2)
            for process in processes[:2]:
                kill(process)
            for process in processes[2:]:
                output, _ = process.communicate("end")
                assert process.returncode == 0
                assert len(output.splitlines()) > 3
            store = Library.open(store.root).store
            check(store)
    check_after_all(store)
