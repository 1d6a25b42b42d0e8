"""Metrics of upstreams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from ..upstreams.pool import Upstreams


def upstream_metrics(upstreams: Upstreams, prefix: str) -> Iterator[Metric]:
    """Yield the state and the counts of each upstream, nothing where there are none."""
    if not upstreams:
        return
    up = GaugeMetricFamily(
        f"{prefix}_upstream_up",
        "1 if an upstream has answered last, 0 if it has failed; absent while unknown.",
        labels=("upstream",),
    )
    running = GaugeMetricFamily(
        f"{prefix}_upstream_requests_running",
        "Requests under way to an upstream.",
        labels=("upstream",),
    )
    requests = CounterMetricFamily(
        f"{prefix}_upstream_requests",
        "Requests to an upstream: answered, failed by kind, or sent again after a failure.",
        labels=("upstream", "outcome"),
    )
    for member in upstreams.members:
        name = member.spec.name
        if member.state != "unknown":
            up.add_metric((name,), float(member.state == "ok"))
        running.add_metric((name,), member.running)
        for outcome, count in member.outcomes.items():
            requests.add_metric((name, outcome), count)
    yield from (up, running, requests)
