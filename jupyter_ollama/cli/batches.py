"""`jupyter ollama batches`: the batches of the user, and how one is cancelled."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from jupyter_ollama_client.batches import BatchClient
from jupyter_ollama_client.readable import age

from .command import say
from .connection import ClientCommand
from .formats import table


class BatchesCommand(ClientCommand):
    """jupyter ollama batches"""

    name = "jupyter-ollama-batches"
    verb = "batches"
    description = "List your batches, newest first, or cancel some. Answers so far are kept."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the ids of batches to cancel."""
        parser.add_argument("--cancel", metavar="ID", nargs="+", default=[])

    def run(self, arguments: argparse.Namespace) -> None:
        """Cancel, or print a table."""
        batches = BatchClient(self.client)
        for batch_id in arguments.cancel:
            say(f"{batch_id} is {batches.cancel(batch_id)['status']}")
        if arguments.cancel:
            return
        rows = []
        for batch in batches.list():
            counts = batch["request_counts"]
            created = datetime.fromtimestamp(batch["created_at"], UTC)
            done = f"{counts['completed'] + counts['failed']}/{counts['total']}"
            rows.append(
                (
                    batch["id"],
                    batch["endpoint"],
                    batch["status"],
                    done,
                    str(counts["failed"]),
                    age(created),
                )
            )
        say(table(("ID", "ENDPOINT", "STATUS", "ROWS", "FAILED", "CREATED"), rows))
