"""The parts of llama.cpp that are used beyond its documented interfaces, and their fallbacks."""

from __future__ import annotations

import ctypes
import logging
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import llama_cpp.llama_cpp as llama
import pytest

from jupyter_ollama.engine import devices, llama_internals, rpc
from jupyter_ollama.engine.llama_internals import TESTED_VERSION, reported_buffer
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.sampling import CANDIDATE

ROOT = Path(__file__).parents[2]
RAISED = """
llama-cpp-python was raised. Before TESTED_VERSION of engine/llama_internals.py follows, compare its
llama.cpp (vendor/llama.cpp of the source distribution) with that of the former version:
- ggml/src/ggml-backend-impl.h, struct ggml_backend_device_i: the number of its functions
  (DEVICE_FUNCTIONS) and the place of get_memory;
- ggml/src/ggml-rpc/ggml-rpc.cpp, enum rpc_cmd: the number and the length of HELLO (RPC_HELLO);
- the lines that say "buffer size" and "size = ... MiB", and those of an interrupted batch;
- llama_cpp/llama_cpp.py: sizes and defaults of llama_model_params and llama_context_params, and
  llama_cpp/llama_cpp_ext.py: the functions for embeddings_nextn.
Then run the tests of engine/ and layout/, and test_engine_rpc.py with a build that has RPC.
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Let faults be found and logged anew in each test, and after it."""
    caches = (
        llama_internals.self_test,
        llama_internals.log_faults,
        llama_internals.extra_buffers_are_safe,
    )
    more = (*caches, llama_internals.log_missing_sizes)
    for one in more:
        one.cache_clear()
    llama.llama_backend_init()
    yield
    for one in more:
        one.cache_clear()


def cpu() -> devices.Device:
    return next(device for device in devices.devices() if device.is_cpu)


def reported_total() -> int:
    return cpu().total


def test_the_pinned_release_is_the_tested_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pin,) = [one for one in project["dependencies"] if one.startswith("llama-cpp-python")]
    assert pin == f"llama-cpp-python=={TESTED_VERSION}", RAISED
    assert llama_cpp.__version__ == TESTED_VERSION, RAISED


def test_the_self_test_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert llama_internals.self_test() == (), RAISED
    assert ctypes.sizeof(llama.llama_token_data) == CANDIDATE.itemsize, RAISED
    llama_internals.log_faults()
    assert not caplog.records


def test_faults_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(llama_cpp, "__version__", "0.4.0")
    monkeypatch.setitem(llama_internals._STRUCT_SIZES, "llama_batch", 64)
    monkeypatch.setitem(llama_internals._CONTEXT_DEFAULTS, "n_ctx", 0)
    llama_internals.log_faults()
    llama_internals.log_faults()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert f"the tested release {TESTED_VERSION}" in message
    assert "the version is 0.4.0" in message
    assert "struct llama_batch has 56 bytes instead of 64" in message
    assert "llama_context_params.n_ctx is 512 instead of 0" in message


@pytest.mark.parametrize(("features", "safe"), [("AVX512 = 1", True), ("AMX_INT8 = 1", False)])
def test_weights_are_not_repacked_for_amx(
    features: str, safe: bool, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama, "llama_print_system_info", f"CPU : {features} | ".encode)
    llama_internals.extra_buffers_are_safe.cache_clear()
    seen: list[bool] = []
    load = llama.llama_model_load_from_file

    def watched(path: bytes, params: llama.llama_model_params) -> llama.llama_model_p | None:
        seen.append(params.use_extra_bufts)
        return load(path, params)

    monkeypatch.setattr(llama, "llama_model_load_from_file", watched)
    LlamaModel(str(smollm2), vocab_only=True)
    assert seen == [safe]


@pytest.mark.parametrize("functions", [14, 16])
def test_a_device_of_another_layout_is_not_written(
    functions: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = cpu()
    monkeypatch.setattr(llama_internals, "DEVICE_FUNCTIONS", functions)
    (fault,) = llama_internals.self_test()
    assert "another layout" in fault
    assert rpc._limit(device, 1) is None
    assert reported_total() == device.total
    assert f"needs llama-cpp-python {TESTED_VERSION}" in caplog.text


def test_a_report_of_memory_is_replaced_and_put_back() -> None:
    device = cpu()
    slots = (ctypes.c_void_p * 3).from_address(device.pointer)
    original = slots[2]
    try:
        assert llama_internals.replace_memory_report(device.pointer, lambda *_: (3, 7)) is not None
        assert reported_total() == 7
        assert llama_internals.self_test() == ()
    finally:
        slots[2] = original
    assert reported_total() == device.total


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("load_tensors:   CPU_Mapped model buffer size =   100.50 MiB", ("model", True, 100.5)),
        ("llama_kv_cache:      CUDA0 KV buffer size =    22.50 MiB", ("KV", False, 22.5)),
        ("sched_reserve:  CUDA_Host compute buffer size =     2.00 MiB", ("compute", True, 2.0)),
        ("llama_kv_cache: size =   22.50 MiB (  1024 cells,  30 layers)", ("cache", True, 22.5)),
        ("print_info: file size   = 100.50 MiB (6.26 BPW)", None),
    ],
)
def test_lines_that_report_buffers(line: str, expected: tuple[str, bool, float] | None) -> None:
    found = reported_buffer(line)
    assert (found and (found.use, found.on_host, found.size / 2**20)) == expected


def test_memory_is_estimated_where_the_log_states_no_sizes(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = ModelLoader(LoadSpec(str(smollm2), num_ctx=256, num_parallel=1))
    never = re.compile(r"(?!)")
    monkeypatch.setattr(llama_internals, "_BUFFER_LINE", never)
    monkeypatch.setattr(llama_internals, "_CACHE_LINE", never)
    loaded = ModelLoader(LoadSpec(str(smollm2), num_ctx=256, num_parallel=1))
    assert loaded.log.host_bytes == loaded.plan.weights.total
    assert loaded.log.host_bytes == pytest.approx(known.log.host_bytes, rel=0.1)
    assert caplog.text.count("llama.cpp reports no buffer sizes") == 1
