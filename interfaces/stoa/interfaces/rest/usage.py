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

from stoa.application.concurrency.pace import Pace
from stoa.application.gateway import Gateway
from stoa.application.metering.event_schema import metering_event_schema
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.domain.errors import InvalidInput, QuotaExceeded
from stoa.interfaces.rest.exchange import json_answer
from stoa.interfaces.wire.endpoints import Endpoints, HttpAnswer, HttpRequest
from stoa.interfaces.wire.usage_report import as_csv, as_json, budget_as_json

T = TypeVar("T")

MAX_ROWS = 5000
"""Upper bound on the rows of a report: consumers name themselves, so callers choose their number."""


def add_usage(routes: Endpoints, gateway: Gateway, summarise: SummariseUsage) -> None:
    readings = OneAtATime()
    schema = _schema()

    @routes.on("GET", "/usage")
    async def usage(request: HttpRequest) -> HttpAnswer:
        caller = await gateway.callers.authenticate(request.credential)
        await gateway.callers.limit(caller)
        form = request.argument("format", "json")
        if form not in {"json", "csv"}:
            raise InvalidInput("format: expected json or csv")
        ask = partial(
            summarise.execute,
            caller,
            group_by=[name for name in request.argument("by", "tool").split(",") if name],
            since=_moment(request, "since"),
            until=_moment(request, "until"),
            tenant=request.tenant,
            rest=Pace(),
        )

        def answer() -> bytes:
            summary = ask()
            if len(summary.rows) > MAX_ROWS:
                raise InvalidInput(f"by: more than {MAX_ROWS} rows; group by less, or narrow since and until")
            return as_csv(summary).encode() if form == "csv" else pydantic_core.to_json(as_json(summary))

        kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
        return HttpAnswer(await readings.run(answer), content_type=kind)

    @routes.on("GET", "/budgets")
    async def budgets(request: HttpRequest) -> HttpAnswer:
        """The budgets of this month; a platform admin sees those of all tenants, or of the one that it names."""
        caller = await gateway.callers.authenticate(request.credential)
        await gateway.callers.limit(caller)
        seen = caller.acting_for(request.tenant)
        if gateway.budgets is None or seen is None or (seen.tenant is None and not seen.is_platform_admin):
            return json_answer({"budgets": []})
        everything = caller.is_platform_admin and request.tenant is None
        statuses = await gateway.budgets.status(None if everything else seen.tenant)
        return json_answer({"budgets": [budget_as_json(status) for status in statuses]})

    @routes.on("GET", "/usage/schema")
    async def event_schema(_: HttpRequest) -> HttpAnswer:
        """The JSON Schema of metering events. It needs no token, because it shows nothing of any usage."""
        return HttpAnswer(schema, content_type="application/schema+json")


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


def _moment(request: HttpRequest, name: str) -> datetime | None:
    text = request.argument(name)
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace(" ", "+"))  # an offset's plus sign that was not escaped
    except ValueError as wrong:
        raise InvalidInput(f"{name}: write it as 2026-01-31T00:00:00Z") from wrong
