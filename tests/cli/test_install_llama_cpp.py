"""The wheel of llama-cpp-python: built once, never mixed up. The source here builds in no time."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cli_process import Terminal

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from llama_cpp_build import BuildProgress  # noqa: E402

FETCH = """
import sys
from pathlib import Path
sys.path.insert(0, "tools")
from jupyter_ollama.backends.command_log import Failure
from llama_cpp_wheel import fetch_wheel, read_requirement
import llama_cpp_wheel
# The wheels here contain nothing that could be loaded.
llama_cpp_wheel.inspect = lambda python, wheel: ([], ["CPU", "RPC"])
try:
    print("wheel:", fetch_wheel(Path(sys.executable), read_requirement(Path("pyproject.toml"))))
except Failure as failure:
    sys.exit(f"Error: {failure}")
"""
INSTALL = """
import sys
from pathlib import Path
sys.path.insert(0, "tools")
from install_environment import ROOT, install_llama_cpp
from llama_cpp_wheel import read_requirement, spoilt_keys
import llama_cpp_wheel
# The wheels here contain nothing that could be loaded.
llama_cpp_wheel.inspect = lambda python, wheel: ([], ["CPU", "RPC"])
venv = Path(sys.argv[1])
install_llama_cpp(venv, venv / "bin/python")
print(spoilt_keys(read_requirement(ROOT / "pyproject.toml"))[0])
"""
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
VERSION = PROJECT.partition("llama-cpp-python==")[2].partition('"')[0]
NAME = f"llama_cpp_python-{VERSION}"
METADATA = f"Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: {VERSION}\n"
DEFAULTS = f"-DGGML_RPC=on -DCMAKE_PROJECT_llama_cpp_INCLUDE={ROOT}/tools/llama_cpp_build.cmake"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SYSTEM = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
BACKEND = f'''
import os, time, zipfile
from pathlib import Path

def info(folder):
    target = Path(folder, "{NAME}.dist-info")
    target.mkdir()
    (target / "METADATA").write_text({METADATA!r})
    (target / "WHEEL").write_text({WHEEL!r})
    (target / "RECORD").write_text("")
    return target

def prepare_metadata_for_build_wheel(folder, settings=None):
    return info(folder).name

def build_wheel(folder, settings=None, metadata=None):
    with open(os.environ["BUILDS"], "a") as file:
        file.write(os.environ.get("CMAKE_ARGS", "") + "\\n")
    for step in range(1, 41):
        print(f"[{{step}}/40] g++ -c source{{step}}.cpp", flush=True)
        together = "CMAKE_PROJECT_llama_cpp_INCLUDE" in os.environ["CMAKE_ARGS"]
        if step == 20 and "UNITED_BROKEN" in os.environ and together:
            print("error: redefinition of 'x'", flush=True)
            raise SystemExit(1)
        if step == 20 and "BROKEN" in os.environ:
            print("g++: fatal error: Killed signal terminated program cc1plus", flush=True)
            raise SystemExit(1)
    name = "{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder, name), "w") as wheel:
        for file in info(folder).iterdir():
            wheel.write(file, "{NAME}.dist-info/" + file.name)
    return name
'''


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with a source distribution, in place of the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    files = {"PKG-INFO": METADATA, "pyproject.toml": SYSTEM, "backend.py": BACKEND}
    with tarfile.open(folder / f"{NAME}.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{NAME}/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return folder


@pytest.fixture
def variables(tmp_path: Path, sources: Path) -> dict[str, str]:
    """The environment of the script: a cache of its own, no network."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(sources),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "BUILDS": str(tmp_path / "builds"),
    }


def fetch(variables: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FETCH],
        cwd=ROOT,
        env={**variables, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


def wheel_of(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1].removeprefix("wheel: "))


def builds(variables: dict[str, str]) -> list[str]:
    path = Path(variables["BUILDS"])
    return path.read_text().splitlines() if path.exists() else []


def test_it_is_compiled_once_and_shows_its_progress(variables: dict[str, str]) -> None:
    first = fetch(variables)
    lines = first.stdout.splitlines()
    assert any("once on this machine: about" in line for line in lines)
    percent = [line.split()[0] for line in lines if " steps, " in line]
    assert percent == [str(number) for number in range(10, 101, 10)]
    wheel = wheel_of(first)
    assert zipfile.is_zipfile(wheel)
    assert wheel.is_relative_to(variables["XDG_CACHE_HOME"])
    second = fetch(variables)
    assert wheel_of(second) == wheel
    assert "Compiling" not in second.stdout
    assert builds(variables) == [DEFAULTS]


def test_builds_with_other_settings_are_others(variables: dict[str, str]) -> None:
    cuda = wheel_of(fetch(variables, CMAKE_ARGS="-DGGML_CUDA=on"))
    cpu = wheel_of(fetch(variables))
    assert cuda != cpu
    assert wheel_of(fetch(variables, CMAKE_ARGS="-DGGML_CUDA=on")) == cuda
    assert builds(variables) == [f"{DEFAULTS} -DGGML_CUDA=on", DEFAULTS]


@pytest.mark.parametrize(
    ("processor", "compiler", "left_off"),
    [
        ("amx_tile amx_int8 avx2", "exit 0", ["NO_AMX"]),
        ("amx_tile amx_int8 avx512_fp16", "exit 0", ["NO_AMX", "NO_FP16"]),
        ("avx512_fp16 avx2", "exit 0", ["NO_FP16"]),
        ("amx_tile amx_int8 avx2", "exit 1", []),  # does not know the flags
        ("avx2", "exit 0", []),
    ],
)
def test_features_that_ggml_uses_badly_are_left_off(
    processor: str,
    compiler: str,
    left_off: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    wheels = importlib.import_module("llama_cpp_build")
    monkeypatch.setattr(wheels, "processor_features", lambda: processor)
    path = tmp_path / "cc"
    path.write_text(f"#!/bin/sh\n{compiler}\n")
    path.chmod(0o755)
    for name, value in {"CC": str(path), "CFLAGS": "-g", "CXXFLAGS": ""}.items():
        monkeypatch.setenv(name, value)
    flags = " ".join(getattr(wheels, name) for name in left_off)
    off = {"CFLAGS": f"-g {flags}", "CXXFLAGS": flags}
    assert wheels.compiler_flags() == (off if left_off else {})


def test_a_finished_wheel_is_taken(
    variables: dict[str, str], sources: Path, tmp_path: Path
) -> None:
    built = wheel_of(fetch(variables, XDG_CACHE_HOME=str(tmp_path / "other")))
    built.rename(sources / built.name)
    offered = fetch(variables)
    assert wheel_of(offered).is_relative_to(variables["XDG_CACHE_HOME"])
    assert builds(variables) == [DEFAULTS]
    # A user who sets CMAKE_ARGS wants a build of their own.
    wheel_of(fetch(variables, CMAKE_ARGS="-DGGML_CUDA=on"))
    assert builds(variables) == [DEFAULTS, f"{DEFAULTS} -DGGML_CUDA=on"]


def test_the_default_build_of_before_is_replaced_and_no_other(
    variables: dict[str, str], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    command = [sys.executable, "-c", INSTALL, str(venv)]

    def install(before: str) -> str:
        """Install where ``before`` is the marker; return the marker."""
        (venv / "llama-cpp-build").write_text(before + "\n")
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        old.append(done.stdout.splitlines()[-1])
        return (venv / "llama-cpp-build").read_text().strip()

    old: list[str] = []
    new = install("")
    assert new != old[0]
    assert install(old[0]) == new
    assert install("somebody's own") == "somebody's own"
    assert builds(variables) == [DEFAULTS]


def test_a_build_that_fails(variables: dict[str, str]) -> None:
    done = fetch(variables, BROKEN="1")
    assert done.returncode == 1
    log = Path(variables["XDG_CACHE_HOME"], "jupyter-ollama", "llama-cpp-python-build.log")
    assert done.stderr.splitlines()[0] == "Error: llama.cpp could not be compiled."
    assert "g++: fatal error: Killed" in done.stderr
    assert "Hint: memory ran out: CMAKE_BUILD_PARALLEL_LEVEL=1" in done.stderr
    assert done.stderr.rstrip().endswith(f"Full log: {log}")
    assert "[20/40] g++ -c source20.cpp" in log.read_text()
    assert not list(log.parent.rglob("*.whl"))
    assert wheel_of(fetch(variables)).exists()


def test_a_compiler_that_cannot_take_files_together(variables: dict[str, str]) -> None:
    done = fetch(variables, UNITED_BROKEN="1")
    assert wheel_of(done).exists()
    log = Path(variables["XDG_CACHE_HOME"], "jupyter-ollama/llama-cpp-python-build.first.log")
    assert f"That failed: {log}" in done.stdout
    assert "redefinition of 'x'" in log.read_text()
    assert builds(variables) == [DEFAULTS, "-DGGML_RPC=on"]


def test_a_full_disk_is_noticed_before_anything_is_downloaded(variables: dict[str, str]) -> None:
    full = (
        "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(1, 1, 5 << 20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", full + FETCH],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "takes 1024 MB in" in done.stderr
    assert "and 5 MB are free there. XDG_CACHE_HOME names another folder." in done.stderr
    assert builds(variables) == []


@pytest.mark.parametrize(
    ("share", "elapsed", "left"), [(0, 0, 120), (0.1, 24, 140), (0.5, 120, 120)]
)
def test_the_forecast_learns_from_the_first_steps(
    share: float, elapsed: float, left: float
) -> None:
    assert round(BuildProgress(120).forecast(share or 1e-9, elapsed)) == round(left)


def test_what_ninja_does_before_the_first_step_is_no_progress(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = BuildProgress(120)
    progress("[0/2] Re-checking globbed directories...")
    progress("[1/2] Building C object a.o")
    assert capsys.readouterr().out.startswith("   50 %  1 of 2 steps")
    # A step of a larger build was a build of its own.
    progress("[2/2] Linking C executable a")
    progress("[2/10] Building C object b.o")
    progress("[1/3] Building C object c.o")
    assert "20 %  2 of 10 steps" in capsys.readouterr().out


def test_without_a_compiler_nothing_is_started(variables: dict[str, str], tmp_path: Path) -> None:
    done = fetch(variables, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "there is no compiler: cc, gcc, clang" in done.stderr
    assert "apt-get install build-essential" in done.stderr
    assert builds(variables) == []


def test_on_a_terminal_progress_is_one_line(variables: dict[str, str]) -> None:
    command = [sys.executable, "-c", f"import os; os.chdir({str(ROOT)!r})\n{FETCH}"]
    with Terminal(command, variables) as terminal:
        terminal.expect(" 50 %  20 of 40 steps, 0:0")
        terminal.expect("100 %  40 of 40 steps")
        assert "\n" not in terminal.expect("wheel: ")
        assert terminal.status() == 0
