"""The member that a server is among the hosts that share budgets."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "unknown"


def member_of(host: str) -> str:
    """Return a new member of a host: its name, and what identifies this process."""
    return f"{host}|{_boot()}.{os.getpid()}.{secrets.token_hex(4)}"


def is_gone(member: str) -> bool:
    """Return True if the process of a member ran on this machine and has ended."""
    boot, pid, _ = member.rpartition("|")[2].split(".")
    if boot != _boot() or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return True  # of a server that this process had before
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
