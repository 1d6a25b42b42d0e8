"""A process that uploads files and creates a model, to be killed:

python interrupted_create.py STORE NAME REQUEST [NAME=FILE...]

REQUEST is the body of /api/create without name and files; FILEs are uploaded as its files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library


def upload(library: Library, path: Path) -> str:
    """Write a file to the store piece by piece, as a server does with what it receives."""
    with library.store.blob_writer() as writer, path.open("rb") as file:
        while piece := file.read(2**20):
            writer.write(piece)
        return writer.commit().digest


if __name__ == "__main__":
    library = Library.open(sys.argv[1])
    body = json.loads(sys.argv[3])
    print("ready", flush=True)
    pairs = (text.split("=", 1) for text in sys.argv[4:])
    files = {name: upload(library, Path(path)) for name, path in pairs}
    request = CreateRequest(
        model=sys.argv[2],
        from_=body.get("from"),
        files=files or None,
        quantize=body.get("quantize"),
        system=body.get("system"),
    )
    for _ in create(library.store, request, quantize.run):
        pass
