"""What a Python function may do during a call besides computing its result: tell and ask the client that called it.

    @gateway.tool
    async def greet(context: Context) -> str:
        answer = await context.elicit("Who are you?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return f"Hello, {answer.content['name']}!" if answer.action == "accept" else "Hello, stranger!"

A parameter with this type is no argument of the tool. In the stateless era of MCP every question ends the round, and
the function runs again from its start when the answer is there: it must ask the same questions under the same keys, and
what it does before a question must be repeatable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.tool_backend import CallContext
from stoa.application.resource_access import ResourceAccess
from stoa.domain.dialogue import (
    NO_CAPABILITIES,
    ClientCapabilities,
    ElicitationAnswer,
    ElicitationRequest,
    InputAnswer,
    InputRequest,
    LogLevel,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
)
from stoa.domain.errors import ClientCannot, ClientRefused
from stoa.domain.identity import Principal
from stoa.domain.json_value import JsonObject
from stoa.domain.result import EmbeddedResource, TextContent


class Context:
    """Of one call. Calls from doors without a way back (REST, command line) have a client that can do nothing:
    progress and log messages are dropped, questions raise ClientCannot."""

    __slots__ = ("_call", "_channel", "_questions", "_resources")

    def __init__(self, call: CallContext, resources: ResourceAccess) -> None:
        self._call = call
        self._resources = resources
        self._channel: ClientChannel | None = call.channel
        self._questions = 0

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self._call.principal

    @property
    def request_id(self) -> str:
        return self._call.request_id

    @property
    def capabilities(self) -> ClientCapabilities:
        """What the client can be asked for."""
        return NO_CAPABILITIES if self._channel is None else self._channel.capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the call is; reaches clients that want to know."""
        if self._channel is not None:
            await self._channel.progress(progress, total, message)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        """Send a log message, any JSON value; reaches clients that listen at this level. No secrets."""
        if self._channel is not None:
            await self._channel.log(level, data, logger)

    async def hang_up(self) -> None:
        """Let go of the connection during a long wait, where the client knows to come back for the rest (MCP
        2025-11-25); elsewhere this does nothing."""
        if self._channel is not None:
            await self._channel.hang_up()

    async def read_resource(self, uri: str) -> tuple[EmbeddedResource, ...]:
        """Read a resource as the caller: an invocation of its own, authorised, limited and metered, without a way to
        the client. Raises ResourceUnreadable when there is nothing to read or reads are nested too deeply, and
        NotPermitted, QuotaExceeded or Unavailable like any call."""
        return await self._resources.read(uri, self._call)

    def resource_updated(self, uri: str) -> None:
        """Tell those of the caller's tenant who watch it that what is read under `uri` has changed (a caller without a
        tenant tells all who watch the global one). Raises ResourceUnreadable when nothing is read there."""
        self._resources.updated(uri, self._call)

    async def sample(
        self,
        prompt: str | Sequence[SamplingMessage],
        *,
        max_tokens: int,
        system_prompt: str | None = None,
        temperature: float | None = None,
        stop_sequences: Sequence[str] = (),
        key: str | None = None,
    ) -> SamplingAnswer:
        """Have the client's language model answer. Raises like `ask`."""
        messages = (SamplingMessage("user", TextContent(prompt)),) if isinstance(prompt, str) else tuple(prompt)
        request = SamplingRequest(
            messages=messages,
            max_tokens=max_tokens,
            system_prompt=system_prompt,
            temperature=temperature,
            stop_sequences=tuple(stop_sequences),
        )
        answer = await self._ask_one(request, key)
        if not isinstance(answer, SamplingAnswer):
            raise ClientRefused("sampling")
        return answer

    async def elicit(self, message: str, schema: JsonObject, *, key: str | None = None) -> ElicitationAnswer:
        """Have the user fill in a form; its schema is flat. The user may decline or cancel. Raises like `ask`."""
        answer = await self._ask_one(ElicitationRequest(message, schema), key)
        if not isinstance(answer, ElicitationAnswer):
            raise ClientRefused("elicitation")
        return answer

    async def list_roots(self, *, key: str | None = None) -> tuple[Root, ...]:
        """The folders the client works in. Raises like `ask`."""
        answer = await self._ask_one(RootsRequest(), key)
        if not isinstance(answer, RootsAnswer):
            raise ClientRefused("roots")
        return answer.roots

    async def ask(self, requests: Mapping[str, InputRequest]) -> Mapping[str, InputAnswer]:
        """Ask several questions at once. Raises ClientCannot, ClientRefused or BackendTimedOut, and InputRequired,
        which is not for you to catch."""
        if self._channel is None:
            raise ClientCannot(NO_CAPABILITIES.missing(requests))
        return await self._channel.ask(requests)

    async def _ask_one(self, request: InputRequest, key: str | None) -> InputAnswer:
        self._questions += 1
        key = key or f"question-{self._questions}"
        return (await self.ask({key: request}))[key]
