"""A load option is added in three files: the options, their use by the loader, and Modelfiles."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from jupyter_ollama_client import parameters

from jupyter_ollama.options import TYPES

ROOT = Path(__file__).parents[2]

ADDED = {
    "jupyter_ollama/options.py": (
        "    flash_attention: Annotated[",
        '    num_spare: Annotated[int, _extension("Spare buffers.", 0, 8)] = 2\n',
    ),
    "magics/jupyter_ollama_client/parameters.py": ("num_keep seed", "num_spare "),
}
"""The texts that an option ``num_spare`` adds, and their places; engine/loading.py would use it."""

USE = """
import sys
from pathlib import Path
import msgspec
from jupyter_ollama_client.modelfile import parse
from jupyter_ollama.api.openapi import document
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.options import merge_options
from jupyter_ollama.scheduler.load_request import build_load_request

# Requests have it parsed and clamped, and their model loaded with it.
options, unknown = merge_options({"num_spare": 99.5})
assert (options.num_spare, unknown) == (8, [])
server = OllamaServer(models_dir=sys.argv[1])
request = build_load_request(server.library.find("smollm2"), options, None, server)
assert request.named == {"num_spare": 8}
assert request.spec.num_spare == 8
assert not request.agrees_with(LoadSpec("x"))
sent = msgspec.msgpack.encode(request.spec)
assert msgspec.msgpack.decode(sent, type=LoadSpec) == request.spec

# The document of the API describes it, and Modelfiles may set it.
schemas = document()["components"]["schemas"]
text = "Extension. Spare buffers. A load option."
described = schemas["ModelOptions"]["properties"]["num_spare"]
assert described == {"type": "integer", "default": 2, "description": text}
model = parse("FROM x\\nPARAMETER num_spare 3")
assert model.to_request(Path("."))[0]["parameters"] == {"num_spare": 3}
"""


def test_an_option_is_added_in_its_table(ollama_store: Path, tmp_path: Path) -> None:
    hidden = shutil.ignore_patterns("labextension", "__pycache__")
    for package in ("jupyter_ollama", "magics/jupyter_ollama_client"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=hidden)
    for name, (before, text) in ADDED.items():
        source = (tmp_path / name).read_text("utf-8")
        assert source.count(before) == 1
        (tmp_path / name).write_text(source.replace(before, text + before), "utf-8")
    path = os.pathsep.join([str(tmp_path), str(tmp_path / "magics")])
    subprocess.run(
        [sys.executable, "-c", USE, str(ollama_store)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        check=True,
    )


def test_modelfiles_may_set_what_requests_may() -> None:
    expected = {name: kind for name, kind in TYPES.items() if name not in parameters.REQUESTED}
    assert expected == parameters.TYPES
