"""Metrics of finished calls for Prometheus.

Labels are the door and the status only, of client requests the kind and the status, of refusals the reason
(`stoa.domain.policy.refusal`). `/metrics` needs no token, so tool and tenant names stay out of it; they are in the
metering
events, where access is governed.
"""

import asyncio
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from stoa.application.concurrency.pace import in_turns
from stoa.application.memory.fallback_rate_limiter import LimiterEvent
from stoa.application.metering.relay_events import RelayMetering
from stoa.application.ports.budget_watcher import BudgetWatcher
from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver, ManifestReport
from stoa.application.ports.invocation_observer import InvocationObserver, RefusalObserver
from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.finding import Severity
from stoa.domain.metering.budget import LEVELS, Crossing
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.policy.decision import ClientRequestKind, Door
from stoa.domain.policy.refusal import Refusal

_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


_MOST_WAITING = 1000
"""Upper bound on the different calls that wait to be counted."""


class _Durations(Histogram):
    """A histogram that takes several observations of one value in one step."""

    def observe_many(self, amount: float, count: int) -> None:
        state: Any = self  # whose parts have no types
        state._sum.inc(amount * count)
        state._buckets[bisect_left(self._upper_bounds, amount)].inc(count)


def share_metrics() -> None:
    """Keeps metrics created from now on, in this process and its forks, in PROMETHEUS_MULTIPROC_DIR. Needed because the
    library reads the variable at import, and it may have been set later."""
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


class PrometheusObserver(InvocationObserver, RefusalObserver, RefusalWatcher, BudgetWatcher):
    """Counts calls, refusals and client requests. `is_multiprocess`: several workers share PROMETHEUS_MULTIPROC_DIR,
    and each reports for all of them."""

    def __init__(self, *, is_multiprocess: bool = False) -> None:
        self._is_multiprocess = is_multiprocess
        self._waiting: dict[tuple[Door, Status, int], int] = {}
        """Finished calls by door, status and milliseconds that the metrics do not count yet: each metric has a lock,
        and a call would take four of them."""
        self._registry = CollectorRegistry()
        invocations = Counter("stoa_invocations", "Finished tool calls", ("door", "status"), registry=self._registry)
        latency = _Durations(
            "stoa_invocation_seconds", "Time a tool call took", ("door",), buckets=_BUCKETS, registry=self._registry
        )
        # Looking a child up by its labels costs more than counting; the few there are, are made now.
        self._counts = {
            (door, status): invocations.labels(door, status) for door in get_args(Door) for status in Status
        }
        self._latencies = {door: latency.labels(door) for door in get_args(Door)}
        refusals = Counter(
            "stoa_refusals", "Requests that a door or the server refused", ("reason",), registry=self._registry
        )
        self._refusals = {reason: refusals.labels(reason.value) for reason in RefusalReason}
        client_requests = Counter(
            "stoa_questions", "Questions of calls to their clients", ("kind", "status"), registry=self._registry
        )
        self._client_requests = {
            (kind, status): client_requests.labels(kind, status)
            for kind in get_args(ClientRequestKind)
            for status in Status
        }
        warnings = Counter(
            "stoa_budget_warnings", "Budgets that reached a level of their month", ("level",), registry=self._registry
        )
        self._budget_warnings = {level: warnings.labels(level) for level in LEVELS}
        self._restarts = Counter(
            "stoa_background_restarts",
            "Background work that ended and was started again",
            ("part",),
            registry=self._registry,
        )
        replies = Counter(
            "stoa_kafka_replies",
            "Replies to requests over Kafka: the answer, another one to the same request, or after its deadline",
            ("fate",),
            registry=self._registry,
        )
        self._replies = {fate: replies.labels(fate) for fate in ("answered", "duplicate", "late")}
        self._own = self._registry
        """Registry for further metrics; those of several workers are merged from their files."""
        if is_multiprocess:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        if outcome.client_request is not None:
            self._client_requests[outcome.client_request, outcome.status].inc()
            return
        waiting = self._waiting
        if not waiting and self._is_multiprocess:
            asyncio.get_running_loop().call_soon(self._count_waiting)  # once for all calls that end in this turn
        elif len(waiting) >= _MOST_WAITING:
            self._count_waiting()
        key = (invocation.door, outcome.status, outcome.latency_ms)
        waiting[key] = waiting.get(key, 0) + 1

    def _count_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for (door, status, latency_ms), calls in waiting.items():
            self._counts[door, status].inc(calls)
            self._latencies[door].observe_many(latency_ms / 1000, calls)

    def refused(self, door: Door, status: Status, code: str, calls: int) -> None:  # noqa: ARG002
        self._counts[door, status].inc(calls)

    def told(self, refusal: Refusal) -> None:
        self._refusals[refusal.reason].inc(refusal.calls)

    def summarised(self, event: MeteringEvent, name: str) -> None:
        """Does nothing: the summarised calls have been counted one by one."""

    def crossed(self, crossing: Crossing) -> None:
        self._budget_warnings[crossing.level].inc()

    def restarted(self, part: str) -> None:
        """Counts a restart of background work. `part`: its name, one of a few."""
        self._restarts.labels(part).inc()

    def replied(self, fate: str) -> None:
        """Counts a reply over Kafka. `fate`: answered, duplicate or late."""
        self._replies[fate].inc()

    def add(self, collector: Collector) -> None:
        """Add metrics that are read from elsewhere at each scrape."""
        self._registry.register(collector)

    def loop_lag(self) -> Callable[[float], None]:
        """Creates the metric of the event loop's lag and returns the function that records it, in seconds. Call
        once."""
        text = "How late the event loop was, measured four times a second"
        lag = Histogram("stoa_event_loop_lag_seconds", text, buckets=_LAG_BUCKETS, registry=self._own)
        return lag.observe

    def limits(self) -> "LimitMetrics":
        """Creates the metrics of shared rate limits, for a gateway with replicas. Call once."""
        return LimitMetrics(self._own)

    def catalogue(self) -> "CatalogueMetrics":
        """For the gateway whose catalogue it is; to be called once."""
        return CatalogueMetrics(self._own)

    def exposition(self) -> bytes:
        """The text format, version 0.0.4."""
        self._count_waiting()
        return generate_latest(self._registry)


class RelayCollector(Collector):
    """Metrics of the relay's state. Every worker reports the same figures, those of the worker that forwards."""

    def __init__(self, relay: RelayMetering) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        status, oldest = self._relay.status, self._relay.oldest_seconds()
        yield GaugeMetricFamily("stoa_relay_waiting_bytes", "Metering events not yet forwarded", status.waiting_bytes)
        yield GaugeMetricFamily("stoa_relay_oldest_seconds", "Age of the oldest event not yet forwarded", oldest)
        yield GaugeMetricFamily("stoa_relay_failing", "1 while forwarding fails", float(bool(status.failure)))
        yield CounterMetricFamily("stoa_relay_events", "Metering events forwarded", value=status.relayed)
        yield CounterMetricFamily("stoa_relay_rejected", "Metering events that were rejected", value=status.rejected)
        yield CounterMetricFamily("stoa_relay_failures", "Failed attempts to forward", value=status.failures)


class CatalogueMetrics(CatalogueObserver):
    """Counts of the last load. `/ready` and the log name the manifests that they are about."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="mostrecent")

        manifests = gauge("stoa_catalogue_manifests", "Manifests, by the version that is in use", "in_use")
        self._manifests = {state: manifests.labels(state) for state in ("current", "earlier", "none")}
        findings = gauge("stoa_catalogue_findings", "Findings about the catalogue", "severity")
        self._findings = {severity: findings.labels(severity.value) for severity in Severity}
        self._loaded = gauge("stoa_catalogue_loaded_timestamp_seconds", "When the catalogue was last loaded")

    async def loaded(self, load: CatalogueLoad) -> None:
        states = Counts([_state(report) async for report in in_turns(load.manifests)])
        for state, count in self._manifests.items():
            count.set(states[state])
        severities = Counts([finding.severity async for finding in in_turns(load.findings)])
        for severity, count in self._findings.items():
            count.set(severities[severity])
        self._loaded.set(load.at.timestamp())


def _state(report: ManifestReport) -> str:
    if report.is_current:
        return "current"
    return "earlier" if report.operations else "none"


class LimitMetrics:
    """Metrics of the shared counting of limits, from its LimiterEvents."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shared = Gauge(
            "stoa_limits_shared",
            "1 while all replicas count limits together, 0 while each does by itself",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._shared.set(1)
        outages = Counter("stoa_limits_outages", "Times that the common store of limits went away", registry=registry)
        alone = Counter("stoa_limits_counted_alone", "Calls judged by this replica's share", registry=registry)
        refused = Counter("stoa_limits_refused", "Calls refused because limits cannot be counted", registry=registry)
        self._counters: dict[LimiterEvent, Counter] = {"lost": outages, "counted here": alone, "refused": refused}

    def told(self, event: LimiterEvent) -> None:
        if event in ("lost", "found"):
            self._shared.set(event == "found")
        if event != "found":
            self._counters[event].inc()
