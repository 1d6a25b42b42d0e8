"""`jupyter ollama batches` against a real server."""

from __future__ import annotations

from contextlib import closing

from cli_process import Ollama, Served
from jupyter_ollama_client import Client
from jupyter_ollama_client.batches import BatchClient


def test_lists_and_cancels(ollama: Ollama, server: Served) -> None:
    with closing(Client(f"http://{server.host}")) as client:
        batches = BatchClient(client)
        row = b'{"custom_id": "a", "method": "POST", "url": "/api/embed", "body": {"model": "x"}}'
        batch = batches.create(batches.upload(row)["id"], "/api/embed")
        while batch["status"] != "completed":
            batch = batches.retrieve(batch["id"])
    head, line, *_ = ollama("batches", host=server.host).stdout.splitlines()
    assert head.split() == ["ID", "ENDPOINT", "STATUS", "ROWS", "FAILED", "CREATED"]
    assert line.split()[:5] == [batch["id"], "/api/embed", "completed", "1/1", "1"]
    done = ollama("batches", "--cancel", batch["id"], host=server.host)
    assert done.returncode == 1
    assert "Cannot cancel a batch with status 'completed'." in done.stderr
