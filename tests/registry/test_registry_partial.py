"""Partial files of interrupted pulls."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from peers import (
    FaultyRegistry,
    dripping,
    dropped,
)
from pulling import DIGEST, QUICK, WEIGHTS, Puller, offsets
from store_models import store_files

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

Make = Callable[..., Puller]


class TestPartialFiles:
    """Partial files of an earlier pull, of a real Ollama, or damaged."""

    def leave(self, store: Store, data: bytes, *parts: tuple[int, int, int]) -> None:
        path = store.blob_path(DIGEST)
        path.with_name(f"{path.name}-partial").write_bytes(data)
        for n, (offset, size, completed) in enumerate(parts):
            record = {"N": n, "Offset": offset, "Size": size, "Completed": completed}
            text = json.dumps(record, separators=(",", ":")) + "\n"
            path.with_name(f"{path.name}-partial-{n}").write_text(text)

    def test_those_of_ollama_are_finished(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        data = WEIGHTS[:400_000] + bytes(600_000)
        self.leave(one.store, data, (0, 500_000, 400_000), (500_000, 500_000, 0))
        lines = one.pull(name)
        assert offsets(registry) == [400_000, 500_000]
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        first = next(line for line in lines if line.get("digest") == DIGEST)
        assert first["completed"] >= 400_000
        assert len(store_files(one.store)) == 4

    def test_ours_are_in_their_format(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller(policy=QUICK._replace(tries=1, parts=2, max_part=500_000))
        registry.faults.extend([dripping(0, 2**16), dropped(100_000), dropped(200_000)])
        with pytest.raises(OllamaError, match="max retries"):
            one.pull(name)
        path = one.store.blob_path(DIGEST)
        records = [
            json.loads(path.with_name(f"{path.name}-partial-{n}").read_text()) for n in range(2)
        ]
        assert [list(record) for record in records] == [["N", "Offset", "Size", "Completed"]] * 2
        assert [record["Offset"] for record in records] == [0, 500_000]
        data = path.with_name(f"{path.name}-partial").read_bytes()
        assert len(data) == len(WEIGHTS)
        for record in records:
            start, end = record["Offset"], record["Offset"] + record["Completed"]
            assert data[start:end] == WEIGHTS[start:end]
        assert sum(record["Completed"] for record in records) > 0
        one.pull(name)
        assert path.read_bytes() == WEIGHTS

    @pytest.mark.parametrize(
        "parts",
        [
            [],
            [(0, 500_000, 400_000)],
            [(0, 500_000, 400_000), (400_000, 600_000, 0)],
            [(0, 1_000_000, 1_000_001)],
            [(0, 1_000_000, -1)],
            [(0, 2_000_000, 5)],
        ],
    )
    def test_those_that_make_no_sense_are_begun_anew(
        self, registry: FaultyRegistry, name: str, puller: Make, parts: list[tuple[int, int, int]]
    ) -> None:
        one = puller()
        self.leave(one.store, bytes(1_000_000), *parts)
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        assert len(store_files(one.store)) == 4

    def test_records_without_their_file(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        self.leave(one.store, b"", (0, 1_000_000, 1_000_000))
        path = one.store.blob_path(DIGEST)
        path.with_name(f"{path.name}-partial").unlink()
        one.pull(name)
        assert path.read_bytes() == WEIGHTS

    def test_torn_record(self, registry: FaultyRegistry, name: str, puller: Make) -> None:
        one = puller()
        self.leave(one.store, WEIGHTS, (0, 1_000_000, 1_000_000))
        path = one.store.blob_path(DIGEST)
        path.with_name(f"{path.name}-partial-0").write_text('{"N":0,"Off')
        one.pull(name)
        assert path.read_bytes() == WEIGHTS

    def test_wrong_bytes_are_reported_and_fetched_by_the_next_pull(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        self.leave(one.store, bytes(1_000_000), (0, 1_000_000, 900_000))
        with pytest.raises(OllamaError, match="digest mismatch"):
            one.pull(name)
        assert store_files(one.store) == {}
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS

    def test_blob_of_the_wrong_size_is_replaced(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        one.store.blob_path(DIGEST).write_bytes(b"short")
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        assert one.store.names() == [ModelName.parse(name)]
