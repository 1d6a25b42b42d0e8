"""Registries on loopback, and stores to pull into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import FaultyRegistry, docker_registry, faulty_registry
from pulling import WEIGHTS, Puller

from jupyter_ollama.library.store import Store


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a docker-registry without authentication."""
    with docker_registry(tmp_path_factory.mktemp("docker") / "open") as host:
        yield host


@pytest.fixture(scope="session")
def locked_docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a docker-registry that requires a login."""
    with docker_registry(tmp_path_factory.mktemp("docker") / "locked", login=True) as host:
        yield host


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    """A registry whose faults a test sets."""
    with faulty_registry() as registry:
        yield registry


@pytest.fixture
def puller(tmp_path: Path) -> Iterator[Callable[..., Puller]]:
    """Make pullers for new stores or a given one; settings are those of Transfers."""
    made: list[Puller] = []

    def make(store: Store | None = None, **settings: Any) -> Puller:
        if store is None:
            store = Store(tmp_path / f"store-{len(made)}")
            store.prepare()
        made.append(Puller(store, **settings))
        return made[-1]

    yield make
    for one in made:
        one.transfers.stop()


@pytest.fixture
def name(registry: FaultyRegistry) -> str:
    """A model with WEIGHTS and a small layer before them."""
    registry.publish("me/tiny", b"small", WEIGHTS)
    return f"{registry.host}/me/tiny"
