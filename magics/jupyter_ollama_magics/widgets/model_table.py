"""The models in the table of the model manager, and their actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.readable import age, moment, size

from ..connection import Connection

COLUMNS = ("Model", "Parameters", "Quantization", "Size", "In memory")


@dataclass(frozen=True)
class ModelRow:
    """A model on the server. ``cells`` are the texts of COLUMNS."""

    name: str
    cells: tuple[str, ...]
    loaded: bool
    embeds: bool

    def load(self, client: Client) -> None:
        """Have the server load the model."""
        self._keep(client, None)

    def unload(self, client: Client) -> None:
        """Have the server unload the model."""
        self._keep(client, 0)

    def _keep(self, client: Client, keep_alive: int | None) -> None:
        if self.embeds:
            body: dict[str, Any] = {"model": self.name, "input": [], "keep_alive": keep_alive}
            client.call("POST", "/api/embed", body)
        else:
            body = {"model": self.name, "stream": False, "keep_alive": keep_alive}
            client.call("POST", "/api/generate", body)


def listed(connection: Connection) -> list[ModelRow]:
    """Return the models on the server in the order of their names."""
    ends = {model["name"]: _ends(model) for model in connection.client.ps()}
    models = sorted(connection.client.list(), key=lambda model: str(model["name"]))
    return [_model(connection, model, ends) for model in models]


def _model(connection: Connection, model: dict[str, Any], ends: dict[str, str]) -> ModelRow:
    details, name = model.get("details") or {}, str(model["name"])
    abilities = connection.capabilities(model)
    cells = (
        name.removesuffix(":latest"),
        str(details.get("parameter_size") or ""),
        str(details.get("quantization_level") or ""),
        size(model.get("size", 0)),
        ends.get(name, ""),
    )
    embeds = "embedding" in abilities and "completion" not in abilities
    return ModelRow(name, cells, name in ends, embeds)


def _ends(model: dict[str, Any]) -> str:
    end = moment(model.get("expires_at"))
    if end is None or age(end) == "Forever":
        return "always"
    return f"until {end.astimezone():%H:%M}"
