"""The memory of devices before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_ollama.engine import devices

GIB = 2**30


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with 16 GiB, of which 8 are available, whose files a test may write."""
    monkeypatch.setattr(devices, "PROC", tmp_path / "proc")
    monkeypatch.setattr(devices, "CGROUP", tmp_path / "cgroup")
    write(tmp_path / "proc/meminfo", f"MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n")
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_cpu_is_a_device_with_memory() -> None:
    (cpu,) = [device for device in devices.devices() if device.is_cpu]
    # ggml takes all of the host's memory for free: a running process shows that it is not.
    assert 0 < cpu.free < cpu.total
    assert devices.physical_threads() >= 1


def test_memory_is_what_the_kernel_calls_available(host: Path) -> None:
    assert devices.available_memory() == 8 * GIB
    write(host / "proc/self/cgroup", "0::/a/b\n")
    assert devices.available_memory() == 8 * GIB


def test_nothing_is_said_where_the_kernel_says_nothing(host: Path) -> None:
    (host / "proc/meminfo").unlink()
    assert devices.available_memory() is None


@pytest.mark.parametrize("group", ["a/b", "a", ""])
def test_every_control_group_above_a_process_limits_it(host: Path, group: str) -> None:
    write(host / "proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n")
    folder = host / "cgroup" / group
    write(folder / "memory.max", f"{4 * GIB}\n")
    write(folder / "memory.current", f"{3 * GIB}\n")
    # Files that the kernel keeps in memory can go.
    write(folder / "memory.stat", f"anon {GIB}\nactive_file {GIB}\ninactive_file {GIB // 2}\n")
    assert devices.available_memory() == 2.5 * GIB
    write(folder / "memory.max", "max\n")
    assert devices.available_memory() == 8 * GIB


def test_control_groups_of_the_first_version(host: Path) -> None:
    write(host / "proc/self/cgroup", "4:cpu,memory:/of/the/host\n0::/\n")
    folder = host / "cgroup/memory"
    write(folder / "memory.limit_in_bytes", f"{2 * GIB}\n")
    write(folder / "memory.usage_in_bytes", f"{GIB}\n")
    stat = f"inactive_file 1\nactive_file 1\ntotal_inactive_file 0\ntotal_active_file {GIB // 2}\n"
    write(folder / "memory.stat", stat)
    assert devices.available_memory() == 1.5 * GIB


def test_weights_that_runners_have_mapped_are_taken(host: Path) -> None:
    for pid, program in ((10, "jupyter_ollama.engine.runner"), (11, "some.other.program")):
        write(host / f"proc/{pid}/cmdline", f"python\0-m\0{program}\0")
        write(host / f"proc/{pid}/status", f"Name:\tpython\nRssAnon:\t1 kB\nRssFile:\t{2**20} kB\n")
    assert devices.available_memory() == 7 * GIB
