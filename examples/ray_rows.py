"""Label the rows of a Ray dataset and embed them, with the function that Dask uses, too.

    python examples/ray_rows.py http://127.0.0.1:11434

Needs `pip install jupyter-ollama-magics "ray[data]"`, and a server with smollm2 and all-minilm.
More addresses share the rows.
"""

from __future__ import annotations

import sys

import ray
from jupyter_ollama_magics.partitions import OllamaRows

TEXTS = [
    "The parcel came two weeks late.",
    "It broke after a day.",
    "Arrived on time, well packed.",
    "Poor stitching, but soft.",
]


def main(servers: list[str]) -> None:
    """Send the rows to the servers and print the results."""
    ray.init(num_cpus=2, include_dashboard=False)
    rows = ray.data.from_items([{"text": text} for text in TEXTS])
    label = OllamaRows(
        "classify",
        ["delivery", "quality"],
        "text",
        into="topic",
        model="smollm2",
        endpoints=servers,
    )
    embed = OllamaRows("embed", "text", into="vector", model="all-minilm", endpoints=servers)
    for ask in (label, embed):
        rows = rows.map_batches(ask, batch_format="pandas", batch_size=1000)
    for row in rows.take_all():
        print(row["text"], "|", row["topic"], "|", len(row["vector"]), row["vector"][0])
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
