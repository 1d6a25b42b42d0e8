"""Dynamic backends: what is loaded, what is refused, and why."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_process import PROGRAM
from runners import running_on_gpu as running

from jupyter_ollama.engine.device_list import build_report


def report(*backends: str | Path) -> dict[str, Any]:
    return asyncio.run(build_report([str(path) for path in backends]))


def changed(path: str, folder: Path, old: bytes, new: bytes) -> Path:
    """Copy a backend with other bytes of the same number."""
    assert len(old) == len(new)
    content = Path(path).read_bytes()
    assert old in content
    copy = folder / Path(path).name
    copy.write_bytes(content.replace(old, new))
    return copy


def fault(path: Path) -> str:
    """Return why a backend is refused; the processor is there all the same."""
    found = report(path)
    assert [device["is_cpu"] for device in found["devices"]] == [True]
    (backend,) = found["dynamic"]
    return str(backend["fault"])


def test_a_backend_adds_its_device(one_gpu: str) -> None:
    found = report(one_gpu)
    assert "Vulkan" in found["backends"]
    assert found["dynamic"] == [{"path": one_gpu, "name": "Vulkan", "devices": 1, "fault": ""}]
    gpu, cpu = found["devices"]
    assert gpu["name"] == "Vulkan0"
    assert 0 < gpu["free"] <= gpu["total"]
    assert cpu["is_cpu"]


def test_a_file_that_several_settings_name_is_loaded_once(
    one_gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / Path(one_gpu).name).symlink_to(one_gpu)
    monkeypatch.setenv("GGML_BACKEND_PATH", f"{one_gpu}:{tmp_path}")
    found = report(one_gpu, Path(one_gpu).parent)
    assert [device["name"] for device in found["devices"]] == ["Vulkan0", "CPU"]
    assert len(found["dynamic"]) == 1


def test_the_variable_of_ggml_is_enough(one_gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_BACKEND_PATH", one_gpu)
    assert len(report()["devices"]) == 2


def test_a_driver_without_devices_leaves_the_processor(
    vulkan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GGML_VK_VISIBLE_DEVICES", raising=False)
    assert fault(Path(vulkan)) == "its driver offers no device"


def test_a_backend_for_another_ggml_is_refused(one_gpu: str, tmp_path: Path) -> None:
    other = changed(one_gpu, tmp_path, b"llama-cpp-python 0.3.", b"llama-cpp-python 0.2.")
    assert "it was built for ggml 0." in fault(other)
    assert "and ggml 0." in fault(other)


def test_a_backend_of_unknown_origin_is_loaded_by_its_name_only(
    one_gpu: str, tmp_path: Path
) -> None:
    marker = b"jupyter_ollama backend for"
    foreign = changed(one_gpu, tmp_path, marker, b"x" * len(marker))
    assert "does not state the ggml that it was built for" in fault(tmp_path)
    assert len(report(foreign)["devices"]) == 2


def test_a_missing_library_is_the_reason(one_gpu: str, tmp_path: Path) -> None:
    lacking = changed(one_gpu, tmp_path, b"libvulkan.so.1", b"libvulxan.so.1")
    assert "libvulxan.so.1: cannot open shared object file" in fault(lacking)


def test_a_missing_driver_has_a_name(tmp_path: Path) -> None:
    driver, path = tmp_path / "libcuda.so", tmp_path / "libggml-cuda.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-Wl,--no-as-needed"]
    named = [*command, "-Wl,-soname,libcuda.so.1", "-o", str(driver)]
    subprocess.run(named, input=b"int cuInit;", check=True)
    bound = [*command, f"-L{tmp_path}", "-lcuda", "-o", str(path)]
    subprocess.run(bound, input=b"int nothing;", check=True)
    # Named by its file, as it does not state the ggml that it was built for.
    assert fault(path).startswith("it needs NVIDIA's driver: libcuda.so.1: cannot open")


def test_another_copy_of_ggml_is_noticed(one_gpu: str, tmp_path: Path) -> None:
    other = changed(one_gpu, tmp_path, b"libggml-base.so.0", b"libggml-base.so.1")
    import llama_cpp

    base = Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"
    # The linker takes a loaded library for the one that it looks for if its own name is the same.
    second = changed(str(base), tmp_path, b"libggml-base.so.0", b"libggml-base.so.1")
    second.rename(tmp_path / "libggml-base.so.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        assert "it needs another copy of ggml: " in fault(other)


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_file_that_is_no_library_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "libggml-none.so"
    path.write_bytes(content)
    assert fault(path)
    assert "does not state" in fault(tmp_path)


def test_a_library_that_is_no_backend_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "libggml-none.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"]
    subprocess.run(command, input=b"int nothing;", check=True)
    assert fault(path) == "it is no dynamic backend: it has no ggml_backend_init"


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert fault(tmp_path / "none.so") == "No such file or directory"


async def test_the_log_names_a_refused_backend(
    one_gpu: str, tmp_path: Path, llama3: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = changed(one_gpu, tmp_path, b"libvulkan.so.1", b"libvulxan.so.1")
    async with running(llama3, num_ctx=256, backends=(str(lacking),)) as runner:
        assert runner.ready.size_vram == 0
    assert f"The backend {lacking} is not used: libvulxan.so.1" in caplog.text


def test_the_doctor_lists_backends(one_gpu: str, tmp_path: Path) -> None:
    shutil.copy(one_gpu, tmp_path)
    lacking = tmp_path / "other"
    lacking.mkdir()
    changed(one_gpu, lacking, b"libvulkan.so.1", b"libvulxan.so.1")
    folders = [str(tmp_path), str(lacking)]
    command = [PROGRAM, "doctor", f"--OllamaServer.backend_folders={folders}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"Vulkan, 1 device: {tmp_path}/libggml-vulkan.so" in done.stdout
    assert f"{lacking}/libggml-vulkan.so is not used: libvulxan.so.1" in done.stdout
    assert "Device             Vulkan0, " in done.stdout


def test_the_doctor_names_what_a_host_without_a_gpu_lacks(vulkan: str) -> None:
    environment = {name: os.environ[name] for name in os.environ if "VK_VISIBLE" not in name}
    command = [PROGRAM, "doctor"]
    environment["GGML_BACKEND_PATH"] = vulkan
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "is not used: its driver offers no device" in done.stdout
    assert "→ Install the driver of the GPU" in done.stdout
