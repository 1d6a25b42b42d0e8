"""A batch through which the server and its runners are killed.

    .venv/bin/python benchmarks/batch_kills.py [--rows 1000] [--kills 10] [--seed 1]

The kills are by turns of the server, of its runner and of both, each after a number of answers that
the seed chooses. At the end every row must have its own answer once, and the record of usage must
have the cost of each row once: the sums of both must agree to the token.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from batch_kills import KilledBatch  # type: ignore[import-not-found]
from batch_models import colour_store  # type: ignore[import-not-found]


def main() -> None:
    """Run the batch, and print which of its rows were answered and billed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batch = KilledBatch(
            colour_store(folder), folder, arguments.rows, arguments.kills, arguments.seed
        )
        outcome = batch.run()
    faults = outcome.faults(arguments.rows)
    counts = outcome.batch["request_counts"]
    tokens = outcome.batch["usage"]
    print(f"kills: {dict(outcome.killed)}, {outcome.seconds:.0f} s")
    print(f"rows: {counts}, lines: {len(outcome.lines)}")
    print(
        f"billed: {len(outcome.usage)} rows, batch: {tokens['input_tokens']} tokens read, ", end=""
    )
    print(f"{tokens['output_tokens']} written")
    print(
        f"record of usage: {sum(row[1] for row in outcome.usage)} read, "
        f"{sum(row[2] for row in outcome.usage)} written"
    )
    print("\n".join(faults) or "no faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
