"""CUDA's toolkit for `jupyter ollama install-backend cuda`: found, or unpacked by pip.

The packages here are a few files, except in the last test, which fetches 525 MB.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from jupyter_ollama.backends import build, build_cache, cuda_packages
from jupyter_ollama.backends.build_log import explain
from jupyter_ollama.backends.command_log import Failure
from jupyter_ollama.backends.cuda_tools import CACHE_TYPES, prepare_cuda
from jupyter_ollama.options import KV_CACHE_TYPES

HEADER = "CUresult CUDAAPI cuMemCreate(int size);\n#define cuMemAlloc cuMemAlloc_v2\n"
FILES = {
    "nvidia-cuda-nvcc": ["bin/nvcc"],
    "nvidia-nvvm": ["nvvm/bin/cicc"],
    "nvidia-cuda-crt": ["include/crt/host_config.h"],
    "nvidia-cuda-cccl": ["include/cccl/cub/cub.cuh"],
    "nvidia-cuda-runtime": ["include/cuda.h", "lib/libcudart.so.13"],
    "nvidia-cublas": ["include/cublas_v2.h", "lib/libcublas.so.13", "lib/libcublasLt.so.13"],
}
STATED = "-DCMAKE_CUDA_ARCHITECTURES=90"
KERNEL = """
#include <cuda.h>
#include <cuda_fp16.h>
__global__ void twice(half * x) { x[threadIdx.x] = __hadd(x[threadIdx.x], x[threadIdx.x]); }
extern "C" int run(half * x) { twice<<<1, 32>>>(x); return cudaGetLastError(); }
extern "C" int start() { return cuInit(0); }
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A host without CUDA: its environment, with a folder for programs and a cache of its own."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(cuda_packages, "CACHE", tmp_path / "cache")
    monkeypatch.setattr("jupyter_ollama.backends.cuda_tools.USUAL_TOOLKIT", tmp_path / "none")
    hidden = ("CUDACXX", "CUDA_HOME", "CUDA_PATH", "CUDAARCHS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**environment, "PATH": f"{programs}:/usr/bin:/bin"}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: dict[str, str]) -> Path:
    """A folder of wheels in place of the package index, which the table lists."""
    folder = tmp_path / "index"
    folder.mkdir()
    table = {}
    for requirement in cuda_packages.PACKAGES:
        name, _, version = requirement.partition("==")
        table[requirement] = (write_wheel(folder, name, version, FILES[name]), "0" * 64)
    monkeypatch.setattr(cuda_packages, "PACKAGES", table)
    host |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    return folder


def write_wheel(folder: Path, name: str, version: str, files: list[str]) -> str:
    """Write a wheel with some files below nvidia/cu13; return its SHA-256."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in files:
            wheel.writestr(f"nvidia/cu13/{file}", HEADER if file.endswith("cuda.h") else "")
        info = f"{stem}.dist-info"
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def add_program(host: dict[str, str], name: str, script: str = "") -> Path:
    """Write a program of the host that runs a script."""
    path = Path(host["PATH"].partition(":")[0], name)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_packages_make_a_toolkit(host: dict[str, str], index: Path, tmp_path: Path) -> None:
    host["CUDAARCHS"] = "90"
    toolchain = prepare_cuda(tmp_path / "log", host)
    settings = dict(argument[2:].split("=", 1) for argument in toolchain.arguments)
    root = Path(settings["CUDAToolkit_ROOT"])
    assert settings["CMAKE_CUDA_COMPILER"] == str(root / "bin" / "nvcc")
    assert settings["CMAKE_CUDA_ARCHITECTURES"] == "90"
    assert settings["CMAKE_INSTALL_RPATH"] == "$ORIGIN"
    assert [path.name for path in toolchain.libraries] == list(cuda_packages.RUNTIME_LIBRARIES)
    assert all(path.exists() for path in toolchain.libraries)
    assert (root / "lib64" / "libcublas.so").exists()
    assert [path.name for path in (tmp_path / "cache" / "tools").iterdir()] == [root.parts[-3]]

    for wheel in index.iterdir():
        wheel.unlink()
    assert prepare_cuda(tmp_path / "log", host) == toolchain  # from the cache


def test_a_backend_is_linked_to_the_driver_by_its_name(
    host: dict[str, str], index: Path, tmp_path: Path
) -> None:
    host["CUDAARCHS"] = "90"
    root = prepare_cuda(tmp_path / "log", host).libraries[0].parents[1]
    source, module = tmp_path / "backend.c", tmp_path / "backend.so"
    source.write_text("int cuMemCreate(int), cuMemAlloc_v2(int);\n")
    source.write_text(
        source.read_text() + "int run(void) { return cuMemCreate(cuMemAlloc_v2(1)); }\n"
    )
    link = ["cc", "-shared", "-fPIC", str(source), f"-L{root}/lib64/stubs", "-lcuda"]
    subprocess.run([*link, "-Wl,-z,defs", "-o", str(module)], check=True)
    assert b"libcuda.so.1\0" in module.read_bytes()
    shutil.rmtree(root)  # pytest keeps the folders of several runs


def test_other_contents_than_the_table_names_are_refused(
    host: dict[str, str], index: Path, tmp_path: Path
) -> None:
    host["CUDAARCHS"] = "90"
    write_wheel(index, "nvidia-cublas", "13.0.2.14", [*FILES["nvidia-cublas"], "lib/other"])
    with pytest.raises(Failure, match=r"(?s)cannot be fetched.*DO NOT MATCH THE HASHES"):
        prepare_cuda(tmp_path / "log", host)
    assert not any((tmp_path / "cache" / "tools").iterdir())


def test_a_build_is_kept_for_each_architecture(
    host: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in (build, build_cache):
        monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    release, _ = build.installed_ggml()
    kept = tmp_path / "cache" / "backends" / build._key("cuda", release, "90", [STATED])
    kept.mkdir(parents=True)
    for name in ("libggml-cuda.so", "libcublas.so.13"):
        (kept / name).write_text(name)
    folder = tmp_path / "installed"
    for _ in range(2):
        assert build.install_backend("cuda", folder, [STATED]) == folder / "libggml-cuda.so"
    assert {path.name for path in folder.iterdir()} == {"libggml-cuda.so", "libcublas.so.13"}
    assert (folder / "libcublas.so.13").samefile(kept / "libcublas.so.13")  # takes no space
    assert f"Taking the backend from {kept}" in capsys.readouterr().out

    monkeypatch.setenv("CUDA_HOME", str(tmp_path))  # has no compiler
    with pytest.raises(Failure, match=r"^CUDA_HOME is"):
        build.install_backend("cuda", folder, [STATED.replace("90", "80")])


def test_a_compiler_that_nvcc_does_not_know_has_a_hint(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("host_config.h(139): fatal error: #error -- unsupported GNU version! gcc ...\n")
    assert "Hint: nvcc is older than the compiler: CUDAHOSTCXX" in explain(log)


def test_every_package_is_pinned_for_both_machines() -> None:
    for requirement, hashes in cuda_packages.PACKAGES.items():
        assert requirement.partition("==")[2].startswith("13.0.")
        assert len(hashes) == len(cuda_packages.MACHINES)
        assert all(len(bytes.fromhex(one)) == 32 for one in hashes)


def test_flash_attention_has_every_type_of_a_cache() -> None:
    assert {f"{name}-{name}" for name in KV_CACHE_TYPES} == set(CACHE_TYPES)


def test_the_devices_decide_the_architectures(
    host: dict[str, str], index: Path, tmp_path: Path
) -> None:
    rows = ["9.0, 580.65.06", "12.0, 580.65.06", "9.0, 580.65.06", "[N/A], [N/A]"]
    add_program(host, "nvidia-smi", "\n".join(f"echo '{row}'" for row in rows))
    arguments = prepare_cuda(tmp_path / "log", host).arguments
    assert "-DCMAKE_CUDA_ARCHITECTURES=90-real;120" in arguments
    stated = ["-DCMAKE_CUDA_ARCHITECTURES:STRING=86"]
    arguments = prepare_cuda(tmp_path / "log", host, stated).arguments
    assert "-DCMAKE_CUDA_ARCHITECTURES=86" in arguments


def test_without_a_device_the_architecture_must_be_stated(
    host: dict[str, str], index: Path, tmp_path: Path
) -> None:
    add_program(host, "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    with pytest.raises(Failure, match=r"(?s)no device.* -- -DCMAKE_CUDA_ARCHITECTURES=90"):
        prepare_cuda(tmp_path / "log", host)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("9.0, 535.183.01", "driver is of branch 535, and CUDA 13.* needs 580"),
        ("7.0, 580.65.06", "compute capability 7.0, for which CUDA 13 does not compile"),
    ],
)
def test_devices_that_cannot_run_the_result_are_named_first(
    host: dict[str, str], index: Path, tmp_path: Path, row: str, reason: str
) -> None:
    add_program(host, "nvidia-smi", f"echo '{row}'")
    with pytest.raises(Failure, match=f"(?s){reason}.*set CUDA_HOME"):
        prepare_cuda(tmp_path / "log", host)
    # With a toolkit of the host's own, its compiler decides.
    nvcc = add_program(host, "nvcc")
    arguments = prepare_cuda(tmp_path / "log", host).arguments
    assert f"-DCMAKE_CUDA_COMPILER={nvcc}" in arguments


def test_the_toolkit_of_the_host_comes_first(host: dict[str, str], tmp_path: Path) -> None:
    host["CUDAARCHS"] = "90"
    toolkit = tmp_path / "toolkit"
    for name in ("bin/nvcc", "lib64/libcudart.so.12"):
        (toolkit / name).parent.mkdir(parents=True)
        (toolkit / name).touch(mode=0o755)
    add_program(host, "nvcc")
    toolchain = prepare_cuda(tmp_path / "log", {**host, "CUDA_HOME": str(toolkit)})
    assert f"-DCUDAToolkit_ROOT={toolkit}" in toolchain.arguments
    assert f"-DCMAKE_INSTALL_RPATH=$ORIGIN;{toolkit}/lib64" in toolchain.arguments
    assert toolchain.libraries == ()


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH", "CUDACXX"])
def test_a_variable_that_names_no_compiler_is_an_error(
    host: dict[str, str], tmp_path: Path, variable: str
) -> None:
    host |= {"CUDAARCHS": "90", variable: str(tmp_path)}
    with pytest.raises(Failure, match=f"^{variable} is {tmp_path}, which"):
        prepare_cuda(tmp_path / "log", host)


@pytest.mark.timeout(900)
def test_nvcc_of_the_package_index_compiles_a_kernel(host: dict[str, str], tmp_path: Path) -> None:
    host["CUDAARCHS"] = "90"
    toolchain = prepare_cuda(tmp_path / "log", host)
    root = toolchain.libraries[0].parents[1]
    source, module = tmp_path / "kernel.cu", tmp_path / "kernel.so"
    source.write_text(KERNEL)
    command = [str(root / "bin" / "nvcc"), "-arch=sm_90", "-shared", "-Xcompiler", "-fPIC"]
    libraries = ["-cudart", "shared", "-lcublas", "-lcuda"]
    subprocess.run([*command, str(source), *libraries, "-o", str(module)], check=True)
    assert b"libcuda.so.1\0" in module.read_bytes()
