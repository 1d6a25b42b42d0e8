"""The limits of a runner process: memory, files, variables, and the kernel's choice of a victim."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import psutil
import pytest
from runners import running

from jupyter_ollama.child_environment import filtered
from jupyter_ollama.engine.device_variables import EFFECTS
from jupyter_ollama.engine.protocol import ChatPrompt
from jupyter_ollama.engine.runner_limits import RunnerLimits
from jupyter_ollama.prompt.messages import Message

SECRETS = {
    "JPY_API_TOKEN": "s3cret1",
    "JUPYTER_TOKEN": "s3cret2",
    "JUPYTERHUB_API_TOKEN": "s3cret3",
    "JUPYTERHUB_USER": "s3cret4",
    "OLLAMA_API_KEY": "s3cret5",
    "HF_TOKEN": "s3cret6",
    "AWS_SECRET_ACCESS_KEY": "s3cret7",
    "AWS_PROFILE": "s3cret8",
    "MY_SECRET": "s3cret9",
    "DATABASE_URL": "postgres://me:s3cret@host/db",
    "LLAMA_API_KEY": "s3cret10",
    "CUDA_LICENSE_KEY": "s3cret11",
    "PYTHON_KEYRING_PASSWORD": "s3cret12",
}


def test_an_environment_has_what_a_runner_needs_and_no_secrets() -> None:
    needed = {
        "PATH": "/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "LC_ALL": "C",
        "PYTHONPATH": "/x",
        "LD_LIBRARY_PATH": "/y",
        "OMP_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "0",
        "HIP_VISIBLE_DEVICES": "1",
        "ROCR_VISIBLE_DEVICES": "GPU-1",
        "GPU_DEVICE_ORDINAL": "2",
        "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
        "GGML_VK_VISIBLE_DEVICES": "1",
        "LLAMA_CPP_LIB_PATH": "/z",
        "TMPDIR": "/tmp",
        "SystemRoot": "C:",
    }
    assert filtered(SECRETS | needed) == needed
    assert filtered(SECRETS | needed, ["HF_TOKEN"]) == needed | {"HF_TOKEN": "s3cret6"}


@pytest.mark.parametrize(
    ("text", "devices"), [("0", ""), (" False ", ""), ("1", "1"), ("", "1"), (None, "1")]
)
def test_vulkan_can_be_turned_off(text: str | None, devices: str) -> None:
    variables = {"GGML_VK_VISIBLE_DEVICES": "1"}
    set_text = {} if text is None else {"OLLAMA_VULKAN": text}
    assert filtered(variables | set_text) == {"GGML_VK_VISIBLE_DEVICES": devices}


def test_the_variables_of_devices_reach_runners() -> None:
    variables = dict.fromkeys(EFFECTS, "1")
    own = {"OLLAMA_GPU_OVERHEAD", "OLLAMA_SCHED_SPREAD"}
    assert filtered(variables).keys() == variables.keys() - own


async def test_runners_and_their_children_get_no_tokens(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    limits = RunnerLimits(environment=("AWS_PROFILE",))
    async with running(smollm2, limits=limits) as runner:
        prompt = ChatPrompt([Message("user", "Hi")], "{{ .Prompt }}", is_template_foreign=True)
        await runner.render(prompt, 64)
        process = psutil.Process(runner.pid)
        (child,) = process.children()
        for one in (process, child):
            found = Path(f"/proc/{one.pid}/environ").read_bytes().decode()
            assert "PATH=" in found
            assert "s3cret" not in found.replace("AWS_PROFILE=s3cret8", "")
        assert process.environ()["AWS_PROFILE"] == "s3cret8"


async def test_a_runner_has_no_files_of_its_parent(smollm2: Path, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        async with running(smollm2) as runner:
            # The runner opens and closes files meanwhile, which psutil passes over.
            files = psutil.Process(runner.pid).open_files()
            assert not any("secret" in opened.path for opened in files)


async def test_memory_of_a_runner_is_bounded_and_the_kernel_ends_it_first(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        process = psutil.Process(runner.pid)
        most, _ = process.rlimit(resource.RLIMIT_DATA)
        assert 0 < most <= psutil.virtual_memory().total
        assert process.rlimit(resource.RLIMIT_CORE) == (0, 0)
        score = int(Path(f"/proc/{runner.pid}/oom_score_adj").read_text())
        assert score >= 500 > int(Path("/proc/self/oom_score_adj").read_text())
    async with running(smollm2, limits=RunnerLimits(memory=3 * 2**30, oom_score_adj=700)) as runner:
        process = psutil.Process(runner.pid)
        assert process.rlimit(resource.RLIMIT_DATA)[0] == 3 * 2**30
        assert Path(f"/proc/{runner.pid}/oom_score_adj").read_text() == "700\n"
    async with running(smollm2, limits=RunnerLimits(memory=-1)) as runner:
        unbounded = psutil.Process(runner.pid).rlimit(resource.RLIMIT_DATA)
        assert unbounded == resource.getrlimit(resource.RLIMIT_DATA)


async def test_a_load_beyond_the_bound_fails_alone(smollm2: Path) -> None:
    with pytest.raises(Exception, match=r"unable to load|failed|unexpectedly stopped|Memory"):
        async with asyncio.timeout(60), running(smollm2, limits=RunnerLimits(memory=2**27)):
            raise AssertionError("loaded")
