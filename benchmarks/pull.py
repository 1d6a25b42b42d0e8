"""Pull a big file over loopback, against curl and sha256sum of the same file.

Usage: python benchmarks/pull.py [--megabytes 1000] [--rounds 3]. Needs docker-registry and curl.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = """\
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "%s"}
"""


def main() -> None:
    """Run all, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--transfer", nargs=3, metavar=("VERB", "STORE", "NAME"))
    arguments = parser.parse_args()
    if arguments.transfer:
        transfer(*arguments.transfer)
        return
    with tempfile.TemporaryDirectory() as folder, registry(Path(folder)) as host:
        compare(Path(folder), f"{host}/bench/big", arguments.megabytes, arguments.rounds)


def compare(folder: Path, name: str, megabytes: int, rounds: int) -> None:
    """Push a model of one big layer, then get it by both ways in turn."""
    digest = add_model(folder / "source", name, megabytes)
    print(f"push                {timed('push', folder / 'source', name)}")
    host, path = name.split("/", 1)
    url = f"http://{host}/v2/{path}/blobs/{digest}"
    for round_ in range(rounds):
        target = folder / "curl"
        began = time.monotonic()
        subprocess.run(["curl", "-sSf", "-o", target, url], check=True)
        fetched = time.monotonic()
        subprocess.run(["sha256sum", target], check=True, stdout=subprocess.DEVNULL)
        ended = time.monotonic()
        target.unlink()
        print(f"curl + sha256sum    {ended - began:.2f} s ({fetched - began:.2f} s of it curl)")
        print(f"pull                {timed('pull', folder / f'store-{round_}', name)}")


def timed(verb: str, store: Path, name: str) -> str:
    """Transfer in a process of its own and return the figures that it prints."""
    command = [sys.executable, __file__, "--transfer", verb, str(store), name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def transfer(verb: str, folder: str, name: str) -> None:
    """Pull or push, and print the seconds and the memory of this process."""
    from jupyter_ollama.library.name import ModelName
    from jupyter_ollama.library.store import Store
    from jupyter_ollama.registry.transfers import Transfers

    store = Store(Path(folder))
    store.prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def run() -> None:
        transfers = Transfers(store)
        start = transfers.pull if verb == "pull" else transfers.push
        async for _ in start(ModelName.parse(name), insecure=True):
            pass

    began, cpu = time.monotonic(), time.process_time()
    asyncio.run(run())
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.2f} s ({cpu:.2f} s CPU), {peak >> 10} MiB at most, {before >> 10} before")


def add_model(folder: Path, name: str, megabytes: int) -> str:
    """Write a model with one layer of random bytes and return its digest."""
    from jupyter_ollama.library import manifest
    from jupyter_ollama.library.manifest import Layer, Manifest
    from jupyter_ollama.library.name import ModelName
    from jupyter_ollama.library.store import Store

    store = Store(folder)
    store.prepare()
    with store.blob_writer() as writer:
        for _ in range(megabytes):
            writer.write(os.urandom(10**6))
        blob = writer.commit()
    config = store.add_blob(b"{}")
    layer = Layer(manifest.MODEL, blob.digest, blob.size)
    written = Manifest(config=Layer(manifest.CONFIG, config.digest, config.size), layers=[layer])
    store.write_manifest(ModelName.parse(name), written)
    return blob.digest


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run docker-registry on a free port of loopback and yield its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config.yml"
    config.write_text(CONFIG % (folder / "registry", f"127.0.0.1:{port}"))
    process = subprocess.Popen(["docker-registry", "serve", str(config)])
    try:
        while not listens(port):
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
