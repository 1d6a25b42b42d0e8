"""Load damaged versions of a model, each in a child process: python load_damaged.py MODEL COUNT.

Prints a line of JSON for each: the seed, the damage, and the end of the child.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from hostile import cut, damaged

import jupyter_ollama.engine.vision  # noqa: F401 - loaded once, before the children
from jupyter_ollama.engine.llama_model import LoadError
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.memory_plan import MemoryShortage
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.library.gguf import InvalidGGUF

SECONDS = 30


def load(path: Path) -> str:
    """Load a model and make a context; return "loaded" or the reason of a refusal."""
    try:
        loaded = ModelLoader(LoadSpec(model=str(path), num_ctx=128, num_thread=1))
        if loaded.model.is_embedding_only:
            loaded.embedding_context(128)
        else:
            loaded.generation_context()
    except (LoadError, InvalidGGUF, MemoryShortage) as error:
        return f"refused: {error}"
    return "loaded"


def in_child(path: Path) -> str:
    """Return the end of a load in a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        try:
            end = load(path)
        except BaseException as error:
            end = f"fault: {type(error).__name__}: {error}"
        os.write(writer, end.encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return said


def main(model: Path, count: int) -> None:
    """Load ``count`` damaged versions of a model."""
    parts = cut(model)
    path = model.with_suffix(".damaged")
    for seed in range(count):
        kind, data = damaged(parts, seed)
        path.write_bytes(data)
        print(json.dumps({"seed": seed, "kind": kind, "end": in_child(path)}), flush=True)


if __name__ == "__main__":
    os.environ["GGML_NO_BACKTRACE"] = "1"
    main(Path(sys.argv[1]), int(sys.argv[2]))
