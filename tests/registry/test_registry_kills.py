"""`kill -9` during a pull at random moments, each followed by another pull.

PULL_KILLS=50 in the environment makes it fifty times; without it there are ten.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from peers import FaultyRegistry, digest_of, dripping
from store_models import store_files

from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store
from jupyter_ollama.registry.partial import recorded_bytes

KILLS = int(os.environ.get("PULL_KILLS", "10"))
WEIGHTS = [os.urandom(size) for size in (1_500_000, 10, 700_000, 0, 1_500_000)]
HERE = Path(__file__).parent


def start(store: Store, name: str) -> subprocess.Popen[str]:
    """Start a pull and wait until it has begun."""
    helpers = [str(HERE), str(HERE.parent)]
    path = os.pathsep.join([*helpers, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, str(HERE / "interrupted_pull.py"), str(store.root), name],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def check(store: Store, name: ModelName) -> None:
    """Assert that all named blobs in the store are complete."""
    for path, data in store_files(store).items():
        if path.startswith("blobs/") and "partial" not in path and ".jupyter" not in path:
            assert digest_of(data).replace(":", "-") == Path(path).name
    for found in store.names():
        assert found == name
        assert all(store.has_blob(digest) for digest in store.read_manifest(found).digests)


def skippable(store: Store) -> int:
    """Return the number of bytes of the weights that the next pull can skip."""
    paths = [store.blob_path(digest_of(data)) for data in WEIGHTS]
    whole = sum(path.stat().st_size for path in paths if path.exists())
    return whole + sum(recorded_bytes(path) for path in paths if not path.exists())


def test_no_kill_breaks_the_store_or_loses_downloaded_bytes(
    registry: FaultyRegistry, store: Store
) -> None:
    dice = random.Random(time.time_ns())
    registry.publish("me/tiny", *WEIGHTS)
    name = ModelName.parse(f"{registry.host}/me/tiny")
    registry.always = dripping(0.002, 4_000)
    before = 0
    for _ in range(KILLS):
        process = start(store, name.qualified)
        time.sleep(dice.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout
        process.stdout.close()
        check(store, name)
        assert skippable(store) >= before
        before = skippable(store)
        if store.resolve(name):  # it finished before the kill: start again
            store.delete(name)
            before = 0
    registry.always = None
    with start(store, name.qualified) as process:
        assert process.wait(60) == 0
    check(store, name)
    assert store.names() == [name]
    assert not [path for path in store_files(store) if "partial" in path or path.endswith(".tmp")]
