"""GET and HEAD /health: whether requests are taken, for those who watch over servers."""

from __future__ import annotations

from .endpoint import Call, Reply


async def health(call: Call) -> Reply:
    """Answer 200 while requests are taken, 503 while the server is drained."""
    server = call.server
    draining = server.admission.draining
    accounts = server.admission.accounts.values()
    body = {
        "status": "draining" if draining else "ok",
        "running": sum(account.running for account in accounts),
        "waiting": sum(account.waiting for account in accounts),
        "models": [loaded.model.name.display for loaded in server.scheduler.loaded()],
    }
    return Reply(body, status=503 if draining else 200)
