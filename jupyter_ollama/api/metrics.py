"""Figures for Prometheus, at the Jupyter server's own /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..scheduler.ticket import Ticket

PREFIX = "jupyter_ollama"
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
"""Bounds of the buckets in seconds."""


def _gauge(name: str, text: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=(label,))


class ServerCollector(Collector):
    """The figures of one server. No label tells what was asked; users are named only if wanted."""

    def __init__(self, server: OllamaServer) -> None:
        self._server = server
        self._registry = CollectorRegistry()
        labels = ("model", "user") if server.metrics_by_user else ("model",)
        self._requests = self._counter("requests", "Requests answered.", (*labels, "status"))
        self._tokens = self._counter(
            "tokens",
            "Tokens of prompts, some of them cached, and of answers.",
            (*labels, "kind"),
        )
        self._loads = self._counter("model_loads", "Models loaded.", ("model",))
        self._unloads = self._counter("model_unloads", "Models unloaded.", ("model",))
        self._refused = self._counter("refused", "Requests refused by a limit.", ("status",))
        self._first = self._histogram(
            "time_to_first_token_seconds", "From the request to its first text.", FIRST_TOKEN
        )
        self._between = self._histogram(
            "time_per_output_token_seconds", "Between two tokens, each request's mean.", TOKEN
        )
        self._waits = self._histogram(
            "wait_seconds", "For a model to be loaded and a slot to be free.", FIRST_TOKEN
        )
        self._is_registered = False
        server.events.listeners.append(self._take)

    def register(self) -> None:
        """Appear at /metrics."""
        REGISTRY.register(self)
        self._is_registered = True

    def unregister(self) -> None:
        """Appear there no longer, however often this is said."""
        if self._is_registered:
            REGISTRY.unregister(self)
        self._is_registered = False

    def describe(self) -> list[Metric]:
        """Claim no names: several servers of one process have the same."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they are now."""
        accounts = self._server.admission.accounts.values()
        running = sum(account.running for account in accounts)
        waiting = sum(account.waiting for account in accounts)
        yield GaugeMetricFamily(f"{PREFIX}_requests_running", "Requests that run.", running)
        yield GaugeMetricFamily(f"{PREFIX}_requests_waiting", "Requests that wait.", waiting)
        memory = GaugeMetricFamily(
            f"{PREFIX}_model_memory_bytes",
            "Memory of loaded models.",
            labels=("model", "device"),
        )
        for loaded in self._server.scheduler.loaded():
            name = loaded.model.name.display
            memory.add_metric((name, "host"), loaded.size - loaded.size_vram)
            memory.add_metric((name, "gpu"), loaded.size_vram)
        yield memory
        yield from self._told_by_runners()
        yield from self._registry.collect()

    def _told_by_runners(self) -> Iterator[Metric]:
        """Yield what runners have told last; of devices what the model used last has told."""
        used = _gauge("kv_cache_used_tokens", "Tokens in the KV cache.", "model")
        size = _gauge("kv_cache_size_tokens", "Tokens that the KV cache has room for.", "model")
        free = _gauge("device_memory_free_bytes", "Memory of a device that is free.", "device")
        total = _gauge("device_memory_total_bytes", "Memory of a device.", "device")
        devices = {}
        for loaded in sorted(self._server.scheduler.loaded(), key=lambda loaded: loaded.used_at):
            memory = loaded.runner.memory
            if memory.cells:
                used.add_metric((loaded.model.name.display,), memory.used)
                size.add_metric((loaded.model.name.display,), memory.cells)
            devices.update({device.name: device for device in memory.devices})
        for device in devices.values():
            free.add_metric((device.name,), device.free)
            total.add_metric((device.name,), device.total)
        yield from (used, size, free, total)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", text, ("model",), registry=self._registry, buckets=buckets
        )

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "finish":
            self._finish(data["ticket"])
        elif kind == "load":
            self._loads.labels(data["model"]).inc()
        elif kind == "unload":
            self._unloads.labels(data["model"]).inc()
        elif kind == "refuse":
            self._refused.labels(data["status"]).inc()

    def _finish(self, ticket: Ticket) -> None:
        who = (ticket.account.name,) if self._server.metrics_by_user else ()
        labels = (ticket.model, *who)
        self._requests.labels(*labels, ticket.status).inc()
        self._tokens.labels(*labels, "prompt").inc(ticket.prompt_tokens)
        self._tokens.labels(*labels, "cached").inc(ticket.cached_tokens)
        self._tokens.labels(*labels, "generated").inc(ticket.generated_tokens)
        self._waits.labels(ticket.model).observe(ticket.waited)
        if ticket.first_text_at:
            self._first.labels(ticket.model).observe(ticket.first_text_at - ticket.opened)
        if ticket.generated_tokens > 1:
            pauses = ticket.generated_tokens - 1
            self._between.labels(ticket.model).observe(ticket.generating / pauses)
