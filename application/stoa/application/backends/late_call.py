"""A call that is made when it is first needed: technologies that most tools of a process never call stay unloaded."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from stoa.application.ports import BackendCall, CallContext, Previewable
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject


class PreviewableCall(BackendCall, Previewable, Protocol):
    """A call that shows what it would send."""


class LateCall(BackendCall, Previewable):
    """`make` makes the call, in a thread, since it imports and compiles. First calls that come together may make it
    more than once. It must not fail for what can be found at registration."""

    def __init__(self, make: Callable[[], PreviewableCall]) -> None:
        self._make = make
        self._call: PreviewableCall | None = None

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        call = self._call
        if call is None:
            call = self._call = await asyncio.to_thread(self._make)
        return await call(arguments, context)

    def preview(self, arguments: JsonObject) -> JsonObject:
        if self._call is None:
            self._call = self._make()
        return self._call.preview(arguments)
