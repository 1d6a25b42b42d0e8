"""Devices that are too small, that are smaller than they state, and that are lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from runners import running_on_gpu as running

from jupyter_ollama.engine.events import Text
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options

MIB = 2**20
RESERVE = 512 * MIB
"""What a plan keeps free on each GPU."""


@pytest.fixture(scope="session")
def small_device(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that makes the driver of `small_device.c`."""
    library = tmp_path_factory.mktemp("driver") / "small_device.so"
    source = Path(__file__).with_name("small_device.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return str(library)


@pytest.fixture
def driver(small_device: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Preload the library into runners; its variables are set by the test."""
    monkeypatch.setenv("LD_PRELOAD", small_device)
    return monkeypatch


async def say(runner: RunnerClient, count: int = 8) -> str:
    options = Options(temperature=0, num_predict=count)
    answer = runner.generate(RawPrompt("Once upon a time"), options, stream=False)
    return "".join([event.text async for event in answer if isinstance(event, Text)])


async def test_a_device_that_is_too_small_gets_a_part_of_the_layers(
    driver: pytest.MonkeyPatch, one_gpu: str, smollm2: Path
) -> None:
    async with running(smollm2, num_ctx=512, num_parallel=1) as runner:
        expected = await say(runner)
    driver.setenv("VK_TEST_HEAP", str(RESERVE + 80 * MIB))
    async with running(smollm2, num_ctx=512, num_parallel=1, backends=(one_gpu,)) as runner:
        assert 0 < runner.gpu_layers < 31
        assert 0 < runner.ready.size_vram <= 1.05 * 80 * MIB
        assert await say(runner) == expected
        # The report of the memory follows the load, and precedes the first answer.
        assert runner.memory.devices[0].total == RESERVE + 80 * MIB


async def test_a_plan_that_does_not_hold_is_refused_before_the_load(
    driver: pytest.MonkeyPatch, one_gpu: str, smollm2: Path
) -> None:
    driver.setenv("VK_TEST_HEAP", str(RESERVE + 20 * MIB))
    with pytest.raises(OllamaError, match="requires more GPU memory"):
        async with running(smollm2, num_ctx=512, num_gpu=31, backends=(one_gpu,)):
            pass


async def test_a_device_with_less_memory_than_it_states_gets_half_of_the_layers(
    driver: pytest.MonkeyPatch, one_gpu: str, smollm2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver.setenv("VK_TEST_HEAP", str(4096 * MIB))
    driver.setenv("VK_TEST_REAL_HEAP", str(90 * MIB))
    async with running(smollm2, num_ctx=512, num_parallel=1, backends=(one_gpu,)) as runner:
        assert runner.gpu_layers == 15
        assert await say(runner)
    assert "with 31 layers on GPUs failed" in caplog.text
    assert "it is loaded with 15 there" in caplog.text


async def test_a_device_without_any_memory_is_reported(
    driver: pytest.MonkeyPatch, one_gpu: str, smollm2: Path
) -> None:
    driver.setenv("VK_TEST_HEAP", str(4096 * MIB))
    driver.setenv("VK_TEST_REAL_HEAP", "1000")
    with pytest.raises(OllamaError) as caught:
        async with running(smollm2, num_ctx=512, num_parallel=1, backends=(one_gpu,)):
            pass
    assert caught.value.status == 500


async def test_a_lost_device_ends_the_runner_as_a_crash_does(
    driver: pytest.MonkeyPatch, one_gpu: str, llama3: Path, tmp_path: Path
) -> None:
    lost = tmp_path / "lost"
    driver.setenv("VK_TEST_LOST", str(lost))
    async with running(llama3, num_ctx=512, backends=(one_gpu,)) as runner:
        assert await say(runner)
        options = Options(num_predict=400, repetition_stop=False)
        answer = runner.generate(RawPrompt("Once upon a time"), options)
        await anext(answer)
        lost.touch()
        with pytest.raises(OllamaError, match="model runner has unexpectedly stopped"):
            [part async for part in answer]
        assert not runner.is_alive
    lost.unlink()
    async with running(llama3, num_ctx=512, backends=(one_gpu,)) as runner:
        assert await say(runner)
