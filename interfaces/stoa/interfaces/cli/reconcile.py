"""`stoa usage reconcile`: compares answered calls, recorded events and forwarded events."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pydantic_core
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stoa.application.metering.reconcile_usage import (
    Entry,
    Gap,
    ReconcileUsage,
    Reconciliation,
    Source,
    SourceCount,
)
from stoa.application.ports.metering import UsageLog
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.money import to_decimal, to_json_number
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.interfaces.bootstrap import MeteringPart, topic_log_of
from stoa.interfaces.cli.common import console, open_container, show_json, table
from stoa.interfaces.settings import Settings

_EVERY = 1000
"""Entries between two steps of the progress bar."""


async def reconcile(
    *,
    audit: list[Path] | None = None,
    kafka: str = "",
    topic: str = "",
    format: Literal["table", "json"] = "table",  # the option's name
) -> int:
    """Compare the events in DATA_DIR with the calls that were answered and with a Kafka topic, by event_id. Exit code 1
    when something is missing.

    Parameters
    ----------
    audit
        Audit log with the answered calls; may be given several times. Without it DATA_DIR/audit.jsonl, where that is.
    kafka
        Broker of the topic as HOST:PORT; without it no topic is looked at.
    topic
        The topic that events are forwarded to; without it METERING_TOPIC.
    format
        table or json.
    """
    settings = Settings()
    topic = topic or settings.metering_topic
    usual = settings.data_dir / "audit.jsonl"
    paths = audit or ([usual] if usual.exists() else [])
    for path in paths:
        if not path.is_file():
            raise InvalidInput(f"--audit: {path} is no file")
    async with open_container(settings) as container:
        metering = await container.get(MeteringPart)
        log, waiting = metering.log, metering.waiting
        with _progress() as progress:
            reconciliation = ReconcileUsage().execute(
                _source(log, "outbox", progress),
                topic=_source(topic_log_of(settings, kafka, topic), f"topic {topic}", progress) if kafka else None,
                waiting=None if waiting is None else _source(waiting, "waiting", progress),
                answered=_audit(paths, progress) if paths else None,
            )
    if format == "json":
        show_json(_as_json(reconciliation))
    else:
        console().print(_drawn(reconciliation))
    return int(reconciliation.has_gaps)


def _progress() -> Progress:
    """A progress bar on standard error, removed when done; nothing is written to a pipe."""
    shown = console(to_stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)


def _counted(
    entries: Iterator[Entry], name: str, progress: Progress, total: Callable[[], int | None]
) -> Iterator[Entry]:
    bar = progress.add_task(name, total=None)
    count = 0
    for count, entry in enumerate(entries, 1):
        if not count % _EVERY:
            progress.update(bar, completed=count, total=total())
        yield entry
    progress.update(bar, completed=count, total=count)


def _source(log: UsageLog, name: str, progress: Progress) -> Source:
    def entries() -> Iterator[Entry]:
        read = (
            Entry(event.event_id, event.tenant, event.timestamp, event.cost_units, event.calls)
            for event in log.events()
        )
        return _counted(read, name, progress, lambda: getattr(log, "total", None))

    return Source(entries, lambda: getattr(log, "damaged", 0))


def _audit(paths: list[Path], progress: Progress) -> Source:
    skipped = 0

    def lines() -> Iterator[Entry]:
        nonlocal skipped
        skipped = 0
        for path in paths:
            with path.open("rb") as file:
                for line in file:
                    entry = _answered(line)
                    if entry is None:
                        skipped += 1
                    elif entry.event_id:
                        yield entry

    def entries() -> Iterator[Entry]:
        return _counted(lines(), "answered calls", progress, lambda: None)

    return Source(entries, lambda: skipped, has_costs=False)


def _answered(line: bytes) -> Entry | None:
    """The entry of an audit line; None if it cannot be read. A log line of another kind, which `stoa serve` writes into
    the same stream, has no event_id."""
    try:
        fields: Any = pydantic_core.from_json(line)
        if not is_object(fields):
            return None
        if "audit" not in fields:
            return Entry("", "")
        event_id, tenant = fields["event_id"], fields["tenant"]
        timestamp = datetime.fromisoformat(fields["timestamp"])
        calls = int(fields.get("calls", 1))
    except (ValueError, KeyError, TypeError):
        return None
    return (
        Entry(event_id, tenant, timestamp, calls=calls)
        if isinstance(event_id, str) and isinstance(tenant, str)
        else None
    )


_GAPS = {
    "unrecorded": "answered, but not recorded",
    "waiting": "recorded, waiting for the relay",
    "missing": "recorded, but not on the topic",
}


def _drawn(reconciliation: Reconciliation) -> Group:
    counts = {"answered calls": reconciliation.answered, "outbox": reconciliation.outbox, "topic": reconciliation.topic}
    sources = table(
        "Sources",
        ["source", "events", "distinct", "calls", "duplicates", "unreadable", "cost units"],
        [[name, *_row(count)] for name, count in counts.items()],
        numeric=["events", "distinct", "calls", "duplicates", "unreadable", "cost units"],
    )
    gaps: dict[str, Gap] = {name: getattr(reconciliation, name) for name in _GAPS}
    rows = [[_GAPS[name], str(gap.count)] for name, gap in gaps.items()]
    rows += [
        ["on the topic only (other machines', or archived here)", str(reconciliation.only_on_topic)],
        ["recorded, without a line in the audit log", str(reconciliation.unanswered)],
    ]
    parts = [sources, table("Comparison", ["", "events"], rows, numeric=["events"])]
    for name, gap in gaps.items():
        if gap.examples:
            examples = [
                [entry.event_id, entry.tenant, entry.timestamp.isoformat() if entry.timestamp else ""]
                for entry in gap.examples
            ]
            parts.append(table(f"{_GAPS[name]}: {len(examples)} of {gap.count}", ["event", "tenant", "time"], examples))
    return Group(*parts)


def _row(count: SourceCount | None) -> list[str]:
    if count is None:
        return ["not looked at", "", "", "", "", ""]
    cost = "" if count.cost is None else f"{to_decimal(count.cost):f}"
    return [
        str(count.entries),
        str(count.distinct),
        str(count.calls),
        str(count.duplicates),
        str(count.unreadable),
        cost,
    ]


def _as_json(reconciliation: Reconciliation) -> JsonObject:
    def source(count: SourceCount | None) -> JsonObject | None:
        return (
            None
            if count is None
            else {
                "events": count.entries,
                "distinct": count.distinct,
                "calls": count.calls,
                "duplicates": count.duplicates,
                "unreadable": count.unreadable,
                "costUnits": None if count.cost is None else to_json_number(count.cost),
            }
        )

    def gap(gap: Gap) -> JsonObject:
        named = [
            {"eventId": entry.event_id, "tenant": entry.tenant, "timestamp": entry.timestamp} for entry in gap.examples
        ]
        return {"events": gap.count, "examples": named}

    return {
        "answered": source(reconciliation.answered),
        "outbox": source(reconciliation.outbox),
        "topic": source(reconciliation.topic),
        **{name: gap(getattr(reconciliation, name)) for name in _GAPS},
        "onlyOnTopic": reconciliation.only_on_topic,
        "unanswered": reconciliation.unanswered,
        "hasGaps": reconciliation.has_gaps,
    }
