"""Metrics for Prometheus, at the Jupyter server's own /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .upstream_metrics import upstream_metrics

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..scheduler.request import ModelRequest

PREFIX = "jupyter_ollama"
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
"""Upper bounds of the histogram buckets in seconds."""


def _gauge(name: str, text: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=(label,))


class ServerCollector(Collector):
    """The metrics of one server. No label holds a text; users are named only if configured."""

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
        server.events.listeners.append(self._on_event)

    def register(self) -> None:
        """Add the metrics to /metrics."""
        REGISTRY.register(self)
        self._is_registered = True

    def unregister(self) -> None:
        """Remove the metrics from /metrics; a second call does nothing."""
        if self._is_registered:
            REGISTRY.unregister(self)
        self._is_registered = False

    def describe(self) -> list[Metric]:
        """Return no names: several servers of one process have the same ones."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the current values."""
        accounts = self._server.admission.accounts.values()
        running = sum(account.running for account in accounts)
        waiting = sum(account.waiting for account in accounts)
        yield GaugeMetricFamily(f"{PREFIX}_requests_running", "Requests that run.", running)
        yield GaugeMetricFamily(f"{PREFIX}_requests_waiting", "Requests that wait.", waiting)
        memory = GaugeMetricFamily(
            f"{PREFIX}_model_memory_bytes",
            "Memory of loaded models; what several share is divided among them.",
            labels=("model", "device"),
        )
        for loaded in self._server.scheduler.loaded():
            name = loaded.model.name.display
            in_all, gpu = (loaded.part_of_memory(vram=vram) for vram in (False, True))
            memory.add_metric((name, "host"), in_all - gpu)
            memory.add_metric((name, "gpu"), gpu)
        yield memory
        yield from upstream_metrics(self._server.upstream_pool, PREFIX)
        yield from self._runner_metrics()
        yield from self._registry.collect()

    def _runner_metrics(self) -> Iterator[Metric]:
        """Yield the last report of each runner; for devices, the report of the model used last."""
        used = _gauge("kv_cache_used_tokens", "Tokens in the KV cache.", "model")
        size = _gauge("kv_cache_size_tokens", "Tokens that fit into the KV cache.", "model")
        stored = _gauge(
            "kv_cache_stored_bytes", "Host memory of copies of finished sequences.", "model"
        )
        drafts = CounterMetricFamily(
            f"{PREFIX}_draft_tokens",
            "Tokens guessed by n-grams, a draft model or a head, that were accepted or rejected.",
            labels=("model", "result"),
        )
        free = _gauge("device_memory_free_bytes", "Memory of a device that is free.", "device")
        total = _gauge("device_memory_total_bytes", "Memory of a device.", "device")
        devices = {}
        for loaded in sorted(self._server.scheduler.loaded(), key=lambda loaded: loaded.used_at):
            memory = loaded.runner.memory
            if memory.cells:
                used.add_metric((loaded.model.name.display,), memory.used)
                size.add_metric((loaded.model.name.display,), memory.cells)
                stored.add_metric((loaded.model.name.display,), memory.stored)
            for result, count in zip(("accepted", "rejected"), loaded.drafts, strict=True):
                drafts.add_metric((loaded.model.name.display, result), count)
            devices.update({device.name: device for device in memory.devices})
        for device in devices.values():
            free.add_metric((device.name,), device.free)
            total.add_metric((device.name,), device.total)
        yield from (used, size, stored, drafts, free, total)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", text, ("model",), registry=self._registry, buckets=buckets
        )

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "finish":
            self._finish(data["request"])
        elif kind == "load":
            self._loads.labels(data["model"]).inc()
        elif kind == "unload":
            self._unloads.labels(data["model"]).inc()
        elif kind == "refuse":
            self._refused.labels(data["status"]).inc()

    def _finish(self, request: ModelRequest) -> None:
        user = (request.user,) if self._server.metrics_by_user else ()
        labels = (request.model, *user)
        self._requests.labels(*labels, request.status).inc()
        self._tokens.labels(*labels, "prompt").inc(request.prompt_tokens)
        self._tokens.labels(*labels, "cached").inc(request.cached_tokens)
        self._tokens.labels(*labels, "generated").inc(request.generated_tokens)
        self._waits.labels(request.model).observe(request.waited)
        if request.first_text_at:
            self._first.labels(request.model).observe(request.first_text_at - request.opened)
        if request.generated_tokens > 1:
            pauses = request.generated_tokens - 1
            self._between.labels(request.model).observe(request.generating / pauses)
