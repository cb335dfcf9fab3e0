"""What a Python function may do during a call besides computing its result: tell and ask the client that called it.

    @gateway.tool
    async def greet(context: Context) -> str:
        answer = await context.elicit("Who are you?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return f"Hello, {answer.content['name']}!" if answer.action == "accept" else "Hello, stranger!"

A parameter with this type is no argument of the tool. In the stateless era of MCP every question ends the round, and
the function runs again from its start when the answer is there: it must ask the same questions under the same keys, and
what it does before a question must be repeatable.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from stoa.application.backends.resource_access import ResourceAccess
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.tool_backend import CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.client_requests.client_request import (
    NO_CAPABILITIES,
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    LogLevel,
    ModelPreferences,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    UrlElicitationRequest,
)
from stoa.domain.client_requests.sampling import IncludeContext
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined
from stoa.domain.results.result import EmbeddedResource, TextContent
from stoa.domain.schema.json_value import JsonObject


class Context:
    """Of one call. Calls from doors without a way back (REST, command line) have a client that can do nothing:
    progress and log messages are dropped, questions raise ClientCapabilityMissing."""

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

    async def continue_as_task(self) -> bool:
        """Answer the caller with a task and go on in the background. False: the caller waits as before, because the
        tool has not `tasks="explicit"`, or its client has not declared MCP's extension for tasks. Call it after the
        questions that come before the work. From here on progress and log messages are the task's status, and questions
        wait in it; when they are answered, the function runs again from its start, in the background at once."""
        return self._channel is not None and await self._channel.begin_task()

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
        model_preferences: ModelPreferences | None = None,
        tools: Sequence[SamplingTool] = (),
        tool_choice: Literal["auto", "required", "none"] | None = None,
        metadata: JsonObject | None = None,
        include_context: IncludeContext = "none",
        key: str | None = None,
    ) -> SamplingAnswer:
        """Have the client's language model answer. The gateway may lower `max_tokens`. When the answer has `tool_uses`,
        run them and ask again, with `answer.message` and a user message of their results appended. Raises like `ask`.
        """
        messages = (SamplingMessage("user", TextContent(prompt)),) if isinstance(prompt, str) else tuple(prompt)
        request = SamplingRequest(
            messages=messages,
            max_tokens=max_tokens,
            system_prompt=system_prompt,
            temperature=temperature,
            stop_sequences=tuple(stop_sequences),
            model_preferences=model_preferences,
            tools=tuple(tools),
            tool_choice=tool_choice,
            metadata=metadata,
            include_context=include_context,
        )
        answer = await self._ask_one(request, key)
        if not isinstance(answer, SamplingAnswer):
            raise ClientRequestDeclined("sampling")
        return answer

    async def elicit(self, message: str, schema: JsonObject, *, key: str | None = None) -> ElicitationAnswer:
        """Have the user fill in a form; its schema is flat. The user may decline or cancel. Raises like `ask`."""
        answer = await self._ask_one(ElicitationRequest(message, schema), key)
        if not isinstance(answer, ElicitationAnswer):
            raise ClientRequestDeclined("elicitation")
        return answer

    async def elicit_url(
        self, message: str, url: str, *, elicitation_id: str | None = None, key: str | None = None
    ) -> ElicitationAnswer:
        """Have the user open a web page, for what must not pass through the client. `accept` says that the user agreed,
        not that it was done. The page must make sure that its visitor is `principal`. `elicitation_id`: for
        `elicitation_done`; None: one is made. Raises like `ask`."""
        request = UrlElicitationRequest(message, url, elicitation_id or secrets.token_urlsafe(16))
        answer = await self._ask_one(request, key)
        if not isinstance(answer, ElicitationAnswer):
            raise ClientRequestDeclined("elicitation")
        return answer

    async def elicitation_done(self, elicitation_id: str) -> None:
        """Tell the client, while the call runs, that the user has done what this page was for. Reaches clients of MCP
        2025-11-25; others find out by calling again."""
        if self._channel is not None:
            await self._channel.elicitation_done(elicitation_id)

    async def list_roots(self, *, key: str | None = None) -> tuple[Root, ...]:
        """The folders the client works in. Raises like `ask`."""
        answer = await self._ask_one(RootsRequest(), key)
        if not isinstance(answer, RootsAnswer):
            raise ClientRequestDeclined("roots")
        return answer.roots

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """Ask several questions at once. Raises ClientRequestRefused, QuotaExceeded or an Unavailable when the
        gateway does
        not let them pass; ClientCapabilityMissing, ClientRequestDeclined or BackendTimedOut when the client does not
        answer; and
        InputRequired, which is not for you to catch."""
        if self._channel is None:
            raise ClientCapabilityMissing(NO_CAPABILITIES.missing(requests))
        return await self._channel.ask(requests)

    async def _ask_one(self, request: ClientRequest, key: str | None) -> ClientAnswer:
        self._questions += 1
        key = key or f"question-{self._questions}"
        return (await self.ask({key: request}))[key]
