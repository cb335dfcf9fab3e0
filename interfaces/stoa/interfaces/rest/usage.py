"""`GET /mcp/v1/usage`: the usage and cost of the caller's tenant; also budgets, and the schema of the metering events.

Reading the log takes seconds for a million events. It runs in a thread, for one request at a time, with pauses in which
calls run.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from typing import TypeVar

import pydantic_core
from quart import Blueprint, Response

from stoa.application.concurrency.pace import Pace
from stoa.application.gateway import Gateway
from stoa.application.metering.event_schema import metering_event_schema
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.domain.errors import InvalidInput, QuotaExceeded
from stoa.interfaces.rest.exchange import asked_tenant, caller_credential, json_answer, query_value
from stoa.interfaces.wire.usage_report import as_csv, as_json, budget_as_json

T = TypeVar("T")

MAX_ROWS = 5000
"""Upper bound on the rows of a report: consumers name themselves, so callers choose their number."""


def add_usage(routes: Blueprint, gateway: Gateway, summarise: SummariseUsage) -> None:
    readings = OneAtATime()
    schema = _schema()

    @routes.get("/usage")
    async def usage() -> Response:
        caller = await gateway.callers.authenticate(caller_credential())
        await gateway.callers.limit(caller)
        form = query_value("format", "json")
        if form not in {"json", "csv"}:
            raise InvalidInput("format: expected json or csv")
        ask = partial(
            summarise.execute,
            caller,
            group_by=[name for name in query_value("by", "tool").split(",") if name],
            since=_moment("since"),
            until=_moment("until"),
            tenant=asked_tenant(),
            rest=Pace(),
        )

        def answer() -> bytes:
            summary = ask()
            if len(summary.rows) > MAX_ROWS:
                raise InvalidInput(f"by: more than {MAX_ROWS} rows; group by less, or narrow since and until")
            return as_csv(summary).encode() if form == "csv" else pydantic_core.to_json(as_json(summary))

        kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
        return Response(await readings.run(answer), content_type=kind)

    @routes.get("/budgets")
    async def budgets() -> Response:
        """The budgets of this month; a platform admin sees those of all tenants, or of the one that it names."""
        caller = await gateway.callers.authenticate(caller_credential())
        await gateway.callers.limit(caller)
        seen = caller.acting_for(asked_tenant())
        if gateway.budgets is None or seen is None or (seen.tenant is None and not seen.is_platform_admin):
            return json_answer({"budgets": []})
        everything = caller.is_platform_admin and asked_tenant() is None
        statuses = await gateway.budgets.status(None if everything else seen.tenant)
        return json_answer({"budgets": [budget_as_json(status) for status in statuses]})

    @routes.get("/usage/schema")
    async def event_schema() -> Response:
        """The JSON Schema of metering events. It needs no token, because it shows nothing of any usage."""
        return Response(schema, content_type="application/schema+json")


class OneAtATime:
    """Runs work in a thread, one piece at a time; `waiting` pieces may wait for their turn, further ones are
    refused."""

    def __init__(self, waiting: int = 8) -> None:
        self._room = waiting + 1
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work`. Raises QuotaExceeded if too many wait already. Work whose caller is cancelled while it waits is
        dropped; work that has begun is finished, and keeps the turn until then."""
        if not self._room:
            raise QuotaExceeded("usage reports at the same time", 1.0)
        self._room -= 1
        try:
            await self._turn.acquire()
        except BaseException:
            self._room += 1
            raise
        running = asyncio.ensure_future(asyncio.to_thread(work))
        running.add_done_callback(self._finished)
        return await asyncio.shield(running)

    def _finished(self, running: asyncio.Future[T]) -> None:
        self._turn.release()
        self._room += 1
        if not running.cancelled():
            running.exception()  # retrieved, so that asyncio does not log it as lost when no caller waits any more


@cache
def _schema() -> bytes:
    return pydantic_core.to_json(metering_event_schema())


def _moment(name: str) -> datetime | None:
    text = query_value(name)
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace(" ", "+"))  # an offset's plus sign that was not escaped
    except ValueError as wrong:
        raise InvalidInput(f"{name}: write it as 2026-01-31T00:00:00Z") from wrong
