"""Jobs as text and as HTML."""

from __future__ import annotations

import html
from typing import Any

from ..progress import WIDTH

WORDS = {"in_progress": "in progress", "validating": "being checked"}


def line(batch: dict[str, Any], operator: str, model: str, counts: tuple[int, int, int]) -> str:
    """Return a job as one line, with a bar while it is under way."""
    done, failed, total = counts
    parts = [f"{done + failed}/{total} requests"]
    if failed:
        parts.append(f"{failed} failed")
    if batch["status"] not in ("completed", "failed", "cancelled", "expired"):
        filled = WIDTH * (done + failed) // max(total, 1)
        parts.insert(0, f"▕{'█' * filled}{' ' * (WIDTH - filled)}▏")
    if paused := batch.get("paused"):
        parts.append(f"paused: {paused}")
    return f"{batch['id']}: {operator} by {model}, {_status(batch)}, {', '.join(parts)}"


def html_of(batch: dict[str, Any], operator: str, model: str, counts: tuple[int, int, int]) -> str:
    """Return a job as HTML with a bar; every text in it is escaped."""
    done, failed, total = counts
    label = f"{operator} by {model}: {_status(batch)}, {done + failed} of {total} requests"
    if failed:
        label += f", {failed} failed"
    if paused := batch.get("paused"):
        label += f"; paused: {paused}"
    name = html.escape(label, quote=True)
    return (
        f'<div><div>{name}</div><progress max="{max(total, 1)}" value="{done + failed}" '
        f'aria-label="{name}" style="width: 20em"></progress> '
        f"<code>{html.escape(str(batch['id']))}</code></div>"
    )


def _status(batch: dict[str, Any]) -> str:
    status = str(batch["status"])
    return WORDS.get(status, status)
