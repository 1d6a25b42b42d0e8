"""The JupyterLab extension in the wheel, and the files that must agree with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "labextension"
LARGEST = 500_000  # bytes of all scripts


def test_each_schema_belongs_to_a_plugin() -> None:
    sources = [path.read_text() for path in (SOURCE / "src").rglob("*.ts*")]
    ids = {name for source in sources for name in re.findall(r"'jupyter-ollama:([a-z]+)'", source)}
    schemas = {path.stem for path in (SOURCE / "schema").glob("*.json")}
    assert schemas <= ids
    assert schemas


def test_the_lock_file_names_no_registry() -> None:
    assert not re.search(r"https?://", (SOURCE / "yarn.lock").read_text())


def test_types_equal_those_of_the_openapi_document(tmp_path: Path) -> None:
    script = [sys.executable, "scripts/api_document.py"]
    document = subprocess.run(script, cwd=SOURCE, check=True, capture_output=True).stdout
    (tmp_path / "api.json").write_bytes(document)
    program = str(SOURCE / "node_modules" / ".bin" / "openapi-typescript")
    options = ["--default-non-nullable=false", "-o", str(tmp_path / "api.ts")]
    subprocess.run([program, str(tmp_path / "api.json"), *options], check=True)
    prettier = [program.replace("openapi-typescript", "prettier"), "--stdin-filepath=src/a.ts"]
    made = (tmp_path / "api.ts").read_bytes()
    pretty = subprocess.run(prettier, cwd=SOURCE, input=made, check=True, capture_output=True)
    assert pretty.stdout.decode() == (SOURCE / "src/specification.ts").read_text()


def test_a_wheel_made_without_node_has_the_extension_once(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    environment = {**os.environ, "PATH": str(programs)}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True, env=environment)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert sum(name.endswith("labextensions/jupyter-ollama/package.json") for name in names) == 1
    assert not [name for name in names if name.startswith("jupyter_ollama/labextension")]
    data = next(tmp_path.glob("*.data"))
    found = next(data.rglob("labextensions/jupyter-ollama"))
    assert sum(path.stat().st_size for path in found.rglob("*.js")) < LARGEST
    assert re.search(r"jupyter-ollama v\S+ .*enabled.*OK", extensions_with(wheel, tmp_path))


def extensions_with(wheel: Path, folder: Path) -> str:
    """Install a wheel beside this environment's JupyterLab and list the extensions that it sees."""
    venv.create(folder / "env")
    python = folder / "env" / "bin" / "python"
    lib = sysconfig.get_path("purelib", vars={"base": str(folder / "env")})
    Path(lib, "lab.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
    listed = subprocess.run(
        [python, "-m", "jupyterlab.labextensions", "list"],
        env={"HOME": str(folder), "PATH": str(folder / "env" / "bin")},
        check=True,
        capture_output=True,
        text=True,
    )
    return listed.stderr + listed.stdout
