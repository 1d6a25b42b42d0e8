"""The doctor names each fault of an installation and what to do about it."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Ollama, Served

from jupyter_ollama.cli.doctor import llama_cpp
from jupyter_ollama.cli.doctor.finding import Level
from jupyter_ollama.engine.device_variables import EFFECTS, IGNORED

CPU_ONLY = [
    {"name": "CPU", "description": "CPU", "free": 10**9, "total": 2 * 10**9, "is_cpu": True}
]


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of a program other than Ollama."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


def faults(ollama: Ollama, *, host: str = "127.0.0.1:1", **variables: str) -> dict[str, str]:
    """Return the texts and advice of the errors by check; the exit status agrees with them."""
    done = ollama("doctor", "--json", host=host, **variables)
    assert not done.stderr
    report = json.loads(done.stdout)
    errors = [one for one in report["findings"] if one["level"] == "error"]
    assert all(one["advice"] for one in errors)
    assert report["ok"] == (not errors) == (done.returncode == 0)
    return {one["check"]: f"{one['text']}\n{one['advice']}" for one in errors}


def test_a_sound_installation(ollama: Ollama, server: Served, tmp_path: Path) -> None:
    done = ollama("doctor", host=server.host, OLLAMA_MODELS=str(tmp_path))
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1], done.stderr) == (0, "No faults found.", "")
    assert any(line.startswith("✓ llama.cpp") and "CPU" in line for line in lines)
    assert any(line.startswith("✓ Kernel") and "python3: magics" in line for line in lines)
    assert any("jupyter_ollama (API version" in line and server.host in line for line in lines)


def test_no_compiler_is_a_note_while_llama_cpp_works(ollama: Ollama, tmp_path: Path) -> None:
    tmp_path.joinpath("jupyter-ollama").symlink_to(Path(sys.executable).with_name("jupyter-ollama"))
    done = ollama("doctor", PATH=str(tmp_path))
    assert done.returncode == 0
    assert "no C++ compiler is installed" in done.stdout
    assert "apt-get install build-essential" in done.stdout


def test_a_llama_cpp_that_cannot_be_loaded(ollama: Ollama, tmp_path: Path) -> None:
    tmp_path.joinpath("llama_cpp.py").write_text("raise ImportError('libllama.so: no such file')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    found = faults(ollama, PYTHONPATH=path)
    assert "libllama.so: no such file" in found["llama.cpp"]
    assert "install --force-reinstall" in found["llama.cpp"]


def test_extensions_that_are_disabled(ollama: Ollama, tmp_path: Path) -> None:
    server = tmp_path / "jupyter_server_config.d" / "off.json"
    lab = tmp_path / "labconfig" / "page_config.json"
    for path in (server, lab):
        path.parent.mkdir()
    server.write_text('{"ServerApp": {"jpserver_extensions": {"jupyter_ollama": false}}}')
    lab.write_text('{"disabledExtensions": {"jupyter-ollama:chat": true}}')
    found = faults(ollama, JUPYTER_CONFIG_PATH=str(tmp_path))
    assert "jupyter server extension enable jupyter_ollama" in found["Server extension"]
    assert "jupyter labextension enable jupyter-ollama:chat" in found["Lab extension"]


def add_kernel(folder: Path, name: str) -> str:
    """Install a kernel whose interpreter sees no installed package; return the interpreter."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" -I -S "$@"\n')
    python.chmod(0o755)
    spec = {"argv": [str(python), "-m", "ipykernel"], "display_name": name, "language": "python"}
    folder.joinpath("kernels", name).mkdir(parents=True)
    folder.joinpath("kernels", name, "kernel.json").write_text(json.dumps(spec))
    return str(python)


def test_no_kernel_has_the_magics(ollama: Ollama, tmp_path: Path) -> None:
    python = add_kernel(tmp_path, "python3")
    found = faults(ollama, JUPYTER_PATH=str(tmp_path))
    assert "python3: the magics are missing" in found["Kernel"]
    assert f"{python} -m pip install jupyter-ollama-magics" in found["Kernel"]


def test_one_kernel_of_two_has_the_magics(ollama: Ollama, tmp_path: Path) -> None:
    python = add_kernel(tmp_path, "bare")
    done = ollama("doctor", JUPYTER_PATH=str(tmp_path))
    assert done.returncode == 0
    assert "• Kernel             bare: the magics are missing" in done.stdout
    assert f"{python} -m pip install jupyter-ollama-magics" in done.stdout


def test_a_folder_that_cannot_be_written(ollama: Ollama) -> None:
    found = faults(ollama, OLLAMA_MODELS="/proc/models")
    assert "read-only for this user" in found["Writing"]
    assert "OLLAMA_MODELS=FOLDER" in found["Writing"]


def test_a_store_that_is_a_file(ollama: Ollama, tmp_path: Path) -> None:
    tmp_path.joinpath("models").write_text("")
    found = faults(ollama, OLLAMA_MODELS=str(tmp_path / "models"))
    assert "is not a folder" in found["Models"]


def test_a_port_that_another_program_has(ollama: Ollama, listening: str) -> None:
    found = faults(ollama, host=listening)
    assert "taken by another program" in found["Port"]
    assert "OLLAMA_HOST=127.0.0.1:" in found["Port"]


def test_an_invalid_address(ollama: Ollama) -> None:
    assert "ftp://x" in faults(ollama, host="ftp://x")["Port"]


def test_a_proxy_that_takes_requests_for_this_host(ollama: Ollama) -> None:
    proxy = "http://127.0.0.1:1"
    done = ollama("doctor", HTTP_PROXY=proxy, NO_PROXY="")
    assert "export NO_PROXY=localhost,127.0.0.1" in done.stdout
    done = ollama("doctor", HTTP_PROXY=proxy, NO_PROXY="localhost,127.0.0.1")
    assert "HTTP_PROXY is set; not used for this host" in done.stdout


def host_with_gpu(root: Path, *, driver: bool) -> Path:
    """Make the files by which Linux shows a GPU of NVIDIA, and its driver."""
    device = root / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    device.joinpath("class").write_text("0x030200\n")
    device.joinpath("vendor").write_text("0x10de\n")
    if driver:
        version = root / "proc/driver/nvidia/version"
        version.parent.mkdir(parents=True)
        version.write_text("NVRM version")
    return root


@pytest.mark.parametrize(
    ("driver", "text", "advice"),
    [
        (False, "no GPU driver is loaded", "Install the driver of NVIDIA"),
        (True, "llama.cpp does not use the GPU of NVIDIA", "jupyter ollama install-backend cuda"),
    ],
)
def test_a_gpu_that_is_not_used(tmp_path: Path, driver: bool, text: str, advice: str) -> None:
    found = [*llama_cpp.gpus(CPU_ONLY, host_with_gpu(tmp_path, driver=driver))]
    assert [one.level for one in found] == [Level.OK, Level.ERROR]
    assert text in found[1].text
    assert advice in found[1].advice


def test_variables_are_listed_behind_the_devices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*EFFECTS, *IGNORED, "OLLAMA_VULKAN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OLLAMA_GPU_OVERHEAD", "1000")
    monkeypatch.setenv("OLLAMA_SCHED_SPREAD", "0")
    monkeypatch.setenv("OLLAMA_LLM_LIBRARY", "cpu_avx2")
    monkeypatch.setenv("OLLAMA_VULKAN", "false")
    gpu = {**CPU_ONLY[0], "name": "CUDA0", "is_cpu": False}
    found = [*llama_cpp.gpus([gpu, *CPU_ONLY], tmp_path)]
    assert [one.check for one in found] == ["Device"] * 2 + ["Variable"] * 5
    assert [(one.level, one.text) for one in found[2:]] == [
        (Level.OK, "CUDA_VISIBLE_DEVICES=1: other GPUs of NVIDIA are hidden"),
        (Level.OK, "ROCR_VISIBLE_DEVICES=: other GPUs of AMD are hidden"),
        (Level.OK, "OLLAMA_GPU_OVERHEAD=1000: so many bytes of each GPU stay free"),
        (
            Level.NOTE,
            "OLLAMA_LLM_LIBRARY=cpu_avx2: it has no effect: llama.cpp uses all backends it has",
        ),
        (Level.OK, "OLLAMA_VULKAN=false: no device of Vulkan is used"),
    ]


def test_a_gpu_that_is_used(tmp_path: Path) -> None:
    gpu = {
        "name": "CUDA0",
        "description": "H100",
        "free": 10**9,
        "total": 2 * 10**9,
        "is_cpu": False,
    }
    found = [*llama_cpp.gpus([gpu, *CPU_ONLY], host_with_gpu(tmp_path, driver=True))]
    assert [one.level for one in found] == [Level.OK, Level.OK]
    assert found[0].text == "CUDA0, H100, 1 GB of 2 GB free"
