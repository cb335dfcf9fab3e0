"""Providers of the records of calls: metering events, their relay, metrics and the audit trail."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from urllib.parse import unquote

from dishka import Provider
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.memory.metering import MeteringOff
from stoa.application.metering.relay_events import RelayMetering
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.application.ports.clock import Clock
from stoa.application.ports.metering import UsageLog
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.kafka.login import KafkaCertificates, KafkaLogin
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.prometheus import PrometheusObserver, RelayCollector
from stoa.infrastructure.observability.refusal_log import RefusalLog
from stoa.infrastructure.observability.watchdog import LoopWatchdog
from stoa.infrastructure.outbox import (
    OutboxMeteringBacklog,
    OutboxMeteringSink,
    OutboxUsageLog,
    relayed_segments,
)
from stoa.interfaces.bootstrap.parts import MeteringPart, RelayPart, TracingPart, Version, WatchdogPart
from stoa.interfaces.settings import Settings


class MeteringProvider(Provider):
    """Provides metering events and their destinations, metrics and the audit trail."""

    scope = Lifetime.APP

    @provide
    async def metering(self, settings: Settings, clock: Clock) -> AsyncIterator[MeteringPart]:
        if not settings.metering_enabled:
            off = MeteringOff()
            yield MeteringPart(off, off, probes=(off,))
            return
        directory = settings.data_dir / "outbox"
        refusals = settings.metering_max_bytes // 8
        calls = settings.metering_max_bytes - refusals
        outbox = OutboxMeteringSink(
            directory,
            clock=clock,
            durability=settings.metering_durability,
            segment_bytes=min(8 * 1024 * 1024, calls // 4),
            max_total_bytes=calls,
            max_refusal_bytes=refusals,
            relayed=relayed_segments if settings.relay_servers else None,
        )
        log = OutboxUsageLog(directory)
        yield MeteringPart(outbox, log, log.waiting() if settings.relay_servers else None, probes=(outbox,))
        await outbox.close()

    @provide
    async def relaying(
        self, settings: Settings, clock: Clock, prometheus: PrometheusObserver, supervisor: Supervisor
    ) -> AsyncIterator[RelayPart]:
        if not settings.relay_servers:
            yield RelayPart(None)
            return
        try:
            from stoa.infrastructure.kafka.publisher import KafkaEventPublisher  # 7 MiB, imported only with a broker
        except ModuleNotFoundError as missing:
            raise InvalidInput(
                "KAFKA_BOOTSTRAP_SERVERS: aiokafka is not installed; install stoa-mcp-gateway[kafka], or set "
                "KAFKA_BOOTSTRAP_SERVERS=none to forward nothing"
            ) from missing
        publisher = KafkaEventPublisher(
            settings.relay_servers,
            topic=settings.metering_topic,
            envelope=settings.metering_envelope,
            source=settings.url,
            login=kafka_login(settings),
        )
        relay = RelayMetering(
            backlog=OutboxMeteringBacklog(settings.data_dir / "outbox"),
            publisher=publisher,
            clock=clock,
            report=supervisor.report,
        )
        prometheus.add(RelayCollector(relay))
        yield RelayPart(relay, probes=(relay,), background={"forwarding of events": relay.run})
        await relay.close()

    @provide
    def summarise_usage(self, metering: MeteringPart) -> SummariseUsage:
        return SummariseUsage(metering.log)

    @provide
    def prometheus(self) -> PrometheusObserver:
        return PrometheusObserver(is_multiprocess="PROMETHEUS_MULTIPROC_DIR" in os.environ)

    @provide
    def supervisor(self, clock: Clock, prometheus: PrometheusObserver) -> Supervisor:
        return Supervisor(clock, restarted=prometheus.restarted)

    @provide
    def watching(self, clock: Clock, prometheus: PrometheusObserver) -> WatchdogPart:
        watchdog = LoopWatchdog(clock, prometheus.loop_lag())
        return WatchdogPart(probes=(watchdog,), background={"event loop": watchdog.run})

    @provide
    def tracing(self, settings: Settings, clock: Clock, version: Version) -> TracingPart:
        if not settings.otel_exporter_otlp_endpoint:
            return TracingPart()
        from stoa.infrastructure.observability.otlp import OtlpTracer  # with an HTTP client

        given = settings.otel_exporter_otlp_headers
        pairs = "" if given is None else given.get_secret_value()
        tracer = OtlpTracer(
            settings.otel_exporter_otlp_endpoint,
            clock,
            service_name=settings.otel_service_name,
            version=version,
            headers={
                unquote(name).strip(): unquote(value).strip()
                for name, equals, value in (pair.partition("=") for pair in pairs.split(","))
                if equals
            },
        )
        return TracingPart(observers=(tracer,), background={"traces": tracer.run})

    @provide
    def audit(self) -> Iterator[AuditLog]:
        audit = AuditLog(sys.stderr.buffer)
        yield audit
        audit.flush()

    @provide
    def refusal_log(self, clock: Clock) -> Iterator[RefusalLog]:
        log = RefusalLog(clock)
        yield log
        log.close()


class CommandLine(Provider):
    """Overrides for commands: the terminal shows the answer, so the audit trail goes to a file."""

    scope = Lifetime.APP

    @provide(override=True)
    def audit(self, settings: Settings) -> Iterator[AuditLog]:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = settings.data_dir / "audit.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as stream:
            audit = AuditLog(stream)
            yield audit
            audit.flush()


def topic_log_of(settings: Settings, servers: str, topic: str) -> UsageLog:
    """A log of the events on a Kafka topic, with the login of the settings. Raises InvalidInput if the extra is
    missing."""
    try:
        from stoa.infrastructure.kafka.topic_log import KafkaUsageLog
    except ModuleNotFoundError as absent:
        raise InvalidInput("reading Kafka needs the extra: pip install 'stoa-mcp-gateway[kafka]'") from absent
    return KafkaUsageLog(servers, topic, login=kafka_login(settings))


def kafka_login(settings: Settings) -> KafkaLogin:
    """The login for Kafka brokers."""
    return KafkaLogin(
        settings.kafka_security_protocol,
        settings.kafka_sasl_mechanism,
        settings.kafka_username,
        settings.kafka_password,
        KafkaCertificates(settings.kafka_ca_file, settings.kafka_certificate_file, settings.kafka_key_file),
        settings.kafka_oauth_token_url,
        settings.kafka_oauth_scopes,
    )
