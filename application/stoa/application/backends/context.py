"""A Python function's access to its call: the caller, messages and requests to the client, and resources.

    @gateway.tool
    async def greet(context: Context) -> str:
        answer = await context.elicit("Who are you?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return f"Hello, {answer.content['name']}!" if answer.action == "accept" else "Hello, stranger!"

A parameter with this type is no argument of the tool. In the stateless era of MCP a client request ends the round, and
the function runs again from its start when the answer is there: it must make the same requests under the same keys, and
everything before a request must be repeatable.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from stoa.application.backends.resource_access import ResourceAccess
from stoa.application.ports.client_channel import ClientChannel, GovernedClientRequests
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
    """The context of one call. Doors without a way back (REST, command line) have a client without capabilities:
    progress and log messages are dropped, client requests raise ClientCapabilityMissing."""

    __slots__ = ("_call", "_channel", "_client_requests", "_resources", "_unnamed")

    def __init__(self, call: CallContext, resources: ResourceAccess) -> None:
        self._call = call
        self._resources = resources
        self._channel: ClientChannel | None = call.channel
        self._client_requests: GovernedClientRequests | None = call.client_requests
        self._unnamed = 0

    @property
    def principal(self) -> Principal:
        """The authenticated caller."""
        return self._call.principal

    @property
    def request_id(self) -> str:
        return self._call.request_id

    @property
    def capabilities(self) -> ClientCapabilities:
        """The client requests that the client declared to take."""
        return NO_CAPABILITIES if self._channel is None else self._channel.capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Send a progress notification, to clients that want them."""
        if self._channel is not None:
            await self._channel.progress(progress, total, message)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        """Send a log message, any JSON value without secrets, to clients that listen at this level."""
        if self._channel is not None:
            await self._channel.log(level, data, logger)

    async def hang_up(self) -> None:
        """Close the connection during a long wait, where the client knows to come back for the rest (MCP 2025-11-25);
        elsewhere this does nothing."""
        if self._channel is not None:
            await self._channel.hang_up()

    async def continue_as_task(self) -> bool:
        """Answer the caller with a task and go on in the background. False: the caller waits as before, because the
        tool has not `tasks="explicit"`, or its client has not declared MCP's extension for tasks. Call it after the
        client requests that come before the work. From here on progress and log messages are the task's status, and
        client requests wait in it; once they are answered, the function runs again from its start, in the background at
        once."""
        return self._channel is not None and await self._channel.begin_task()

    async def read_resource(self, uri: str) -> tuple[EmbeddedResource, ...]:
        """Read a resource as the caller: an invocation of its own, authorised, limited and metered, without a way to
        the client. Raises ResourceUnreadable when there is nothing to read or reads are nested too deeply, and
        NotPermitted, QuotaExceeded or Unavailable like any call."""
        return await self._resources.read(uri, self._call)

    def resource_updated(self, uri: str) -> None:
        """Notify subscribers of the caller's tenant that the resource at `uri` has changed (a caller without a tenant
        notifies the subscribers of the global one). Raises ResourceUnreadable when there is no such resource."""
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
        """Request an answer from the client's language model (MCP "Sampling"). The gateway may lower `max_tokens`.
        When the answer has `tool_uses`, run them and sample again, with `answer.message` and a user message of their
        results appended. Raises like `ask`.
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
        """Request a form from the user (MCP "Elicitation"); its schema is flat. The user may decline or cancel. Raises
        like `ask`."""
        answer = await self._ask_one(ElicitationRequest(message, schema), key)
        if not isinstance(answer, ElicitationAnswer):
            raise ClientRequestDeclined("elicitation")
        return answer

    async def elicit_url(
        self, message: str, url: str, *, elicitation_id: str | None = None, key: str | None = None
    ) -> ElicitationAnswer:
        """Request that the user opens a web page, for secrets that must not pass through the client. `accept` means
        that the user agreed to, not that it was done. The page must make sure that its visitor is `principal`.
        `elicitation_id`: for `elicitation_done`; None: a random one. Raises like `ask`."""
        request = UrlElicitationRequest(message, url, elicitation_id or secrets.token_urlsafe(16))
        answer = await self._ask_one(request, key)
        if not isinstance(answer, ElicitationAnswer):
            raise ClientRequestDeclined("elicitation")
        return answer

    async def elicitation_done(self, elicitation_id: str) -> None:
        """Notify the client, while the call runs, that the user has completed this page's purpose. Reaches clients of
        MCP 2025-11-25; others find out by calling again."""
        if self._channel is not None:
            await self._channel.elicitation_done(elicitation_id)

    async def list_roots(self, *, key: str | None = None) -> tuple[Root, ...]:
        """The folders that the client works in (MCP "Roots"). Raises like `ask`."""
        answer = await self._ask_one(RootsRequest(), key)
        if not isinstance(answer, RootsAnswer):
            raise ClientRequestDeclined("roots")
        return answer.roots

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """Make several client requests at once. Raises like GovernedClientRequests.send; do not catch InputRequired."""
        if self._client_requests is None:
            raise ClientCapabilityMissing(NO_CAPABILITIES.missing(requests))
        return await self._client_requests.send(requests)

    async def _ask_one(self, request: ClientRequest, key: str | None) -> ClientAnswer:
        self._unnamed += 1
        key = key or f"question-{self._unnamed}"
        return (await self.ask({key: request}))[key]
