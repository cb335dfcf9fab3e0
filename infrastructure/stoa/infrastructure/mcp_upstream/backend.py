"""The back end of upstream MCP servers: calls their tools, reads their resources and gets their prompts."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from stoa.application.ports import (
    Announcing,
    BackendCall,
    BindingManifest,
    CallContext,
    Completing,
    NamedByManifests,
    Previewable,
    ToolBackend,
    UpstreamAccess,
)
from stoa.application.schemas.routed_arguments import RoutedArgument, routed_arguments
from stoa.domain.access.identity import Principal
from stoa.domain.client_requests.client_request import NO_CAPABILITIES, ClientRequest, capabilities_of
from stoa.domain.errors import (
    BackendProtocolError,
    BackendUnavailable,
    ClientCapabilityMissing,
    InvalidInput,
)
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.uri_template import UriTemplate
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.plain_text import plain
from stoa.infrastructure.http_client.authentication import compile_authentication
from stoa.infrastructure.http_client.failures import after_another_request
from stoa.infrastructure.http_client.http1_errors import translated_failure
from stoa.infrastructure.mcp_upstream import messages
from stoa.infrastructure.mcp_upstream.binding import McpBinding
from stoa.infrastructure.mcp_upstream.client_requests import missing_of, read_request, written_answer
from stoa.infrastructure.mcp_upstream.conversation import NO_CLIENT, CallListener, Listener
from stoa.infrastructure.mcp_upstream.http import header_value
from stoa.infrastructure.mcp_upstream.manifest import McpToolManifest
from stoa.infrastructure.mcp_upstream.messages import (
    INVALID_PARAMS,
    MISSING_CAPABILITY,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    UpstreamFault,
)
from stoa.infrastructure.mcp_upstream.resource_changes import ResourceChanges
from stoa.infrastructure.mcp_upstream.results import result_of
from stoa.infrastructure.mcp_upstream.session import Access, Call, Session, SessionGone
from stoa.infrastructure.mcp_upstream.spec_kind import check_program
from stoa.infrastructure.mcp_upstream.tasks import UpstreamTasks
from stoa.infrastructure.mcp_upstream.upstreams import McpUpstreams, Owner, Upstream

MAX_ROUNDS = 32
"""Of client requests in one call of the stateless era."""
MAX_KEY = 128
MAX_FAULT = 4000
_NO_HEADERS: dict[str, str] = {}
_AGAIN_SECONDS = 1.0
"""Before a call is repeated whose server only wants it to come back."""


class McpBackend(ToolBackend, NamedByManifests):
    kind = "mcp"

    def __init__(self, upstreams: McpUpstreams) -> None:
        """Closes `upstreams` when it is closed."""
        self._upstreams = upstreams
        self._tasks = UpstreamTasks()
        self._changes: dict[tuple[Upstream, Owner], ResourceChanges] = {}

    def manifest(self) -> type[BindingManifest]:
        return McpToolManifest

    def prepare(self, tool: Operation) -> BackendCall:
        binding = tool.binding
        if not isinstance(binding, McpBinding):
            raise InvalidInput(f"{tool.kind} {tool.key}: its binding is {binding.kind}, not mcp")
        is_of_platform = tool.tenant is None and not tool.is_by_tenant
        check_program(binding.server, is_of_platform=is_of_platform, where=str(tool.key))
        if binding.server.program is not None and tool.authentication.type != "none":
            message = "a program gets its secrets by envSecretRefs; remove authentication"
            raise InvalidInput(f"{tool.key}: {message}")
        return McpCall(tool, binding, self._upstreams, self._tasks, self._changes)

    async def close(self) -> None:
        await self._upstreams.close()


class McpCall(BackendCall, Previewable, Completing, Announcing):
    def __init__(
        self,
        tool: Operation,
        binding: McpBinding,
        upstreams: McpUpstreams,
        tasks: UpstreamTasks,
        changes: dict[tuple[Upstream, Owner], ResourceChanges],
    ) -> None:
        """`changes`: those that are followed now, of all calls of the back end."""
        self._tasks = tasks
        self._changes = changes
        self._whose = str(tool.key)
        self._binding = binding
        self._authentication = tool.authentication.type
        self._upstream: Upstream = upstreams.of(binding.server, tool.tenant, tool.authentication)
        self._access_of_all = None
        """The access that all calls share; None: each brings a token of its own."""
        if self._authentication != "oauth2":
            self._access_of_all = Access(compile_authentication(tool, upstreams.credentials))
        self._routed = routed_arguments(tool.input_schema) if binding.method == "tools/call" else ()
        self._template = UriTemplate(binding.name) if binding.method == "resources/read" else None

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        method, params = self._binding.method, self._params(arguments)
        listener: Listener = NO_CLIENT if context.channel is None else CallListener(context)
        routing = _parameter_headers(self._routed, arguments) if self._routed else _NO_HEADERS
        call = Call(listener, self._access(context.upstream), context.trace, context.request_id, routing)
        try:
            result = await self._asked(method, params, call, context)
        except UpstreamFault as fault:
            return self._answered_fault(fault)
        return result_of(method, result, self._binding.uri_prefix, self._whose)

    def preview(self, arguments: JsonObject) -> JsonObject:
        messages.request(0, self._binding.method, arguments)  # refuses what cannot be sent
        server = self._binding.server
        where: JsonObject = {"url": server.url} if server.program is None else {"command": server.program.command}
        return {
            **where,
            "method": self._binding.method,
            "params": self._params(arguments),
            "headers": _parameter_headers(self._routed, arguments),
            "authentication": self._authentication,
        }

    async def complete(
        self,
        argument: str,
        value: str,
        arguments: Mapping[str, str],
        caller: Principal,
        upstream: UpstreamAccess | None,
    ) -> tuple[str, ...]:
        """What the server proposes; nothing if it does not complete."""
        name = self._binding.name
        reference = (
            {"type": "ref/prompt", "name": name}
            if self._binding.method == "prompts/get"
            else {"type": "ref/resource", "uri": name}
        )
        params: JsonObject = {"ref": reference, "argument": {"name": argument, "value": value}}
        if arguments:
            params["context"] = {"arguments": dict(arguments)}
        access = self._access(upstream)
        try:
            async with self._upstream.session(Owner.of(caller), NO_CAPABILITIES, access, self._whose) as session:
                if "completions" not in session.peer.capabilities and session.peer.revision != "2024-11-05":
                    return ()
                result = await session.request("completion/complete", params, Call(access=access))
        except (UpstreamFault, SessionGone):
            return ()
        except OSError as lost:
            problem = translated_failure(lost, self._whose)
        else:
            values = as_object(result.get("completion")).get("values")
            texts = [plain(each)[:1000] for each in (values if is_array(values) else []) if isinstance(each, str)]
            return tuple(texts[:100])
        raise problem

    async def follow(
        self, arguments: JsonObject, caller: Principal, upstream: UpstreamAccess | None, changed: Callable[[], None]
    ) -> None:
        if self._template is None:
            return
        key = (self._upstream, Owner.of(caller))
        changes = self._changes.get(key)
        if changes is None:
            changes = self._changes[key] = ResourceChanges(*key, self._access(upstream), self._whose)
        try:
            await changes.follow(str(self._params(arguments)["uri"]), changed)
        finally:
            if changes.is_idle and self._changes.get(key) is changes:
                del self._changes[key]

    def _params(self, arguments: JsonObject) -> JsonObject:
        if self._template is not None:
            return {"uri": self._template.expand({name: str(value) for name, value in arguments.items()})}
        return {"name": self._binding.name, "arguments": arguments}

    def _access(self, upstream: UpstreamAccess | None) -> Access:
        if self._access_of_all is not None:
            return self._access_of_all
        if upstream is None:
            message = f"{self._whose} needs an access token for its back end, and this call brought none"
            raise BackendUnavailable(message, nothing_was_sent=True)
        return Access(None, upstream)

    async def _asked(self, method: str, params: JsonObject, call: Call, context: CallContext) -> JsonObject:
        """The result, after the rounds that it takes. Raises UpstreamFault for an error."""
        owner = Owner.of(context.principal)
        try:
            for is_last in (False, True):
                async with self._upstream.session(
                    owner, call.listener.capabilities, call.access, self._whose
                ) as session:
                    try:
                        return await self._rounds(session, method, params, call, context)
                    except SessionGone:  # before anything was done
                        self._upstream.forget(session)
                    except UpstreamFault as fault:
                        if fault.code != UNSUPPORTED_VERSION or is_last:
                            raise
                        self._upstream.forget(session)
        except OSError as lost:
            problem = translated_failure(lost, self._whose)
        else:
            problem = BackendUnavailable(f"The back end of {self._whose} failed: it loses its sessions")
        raise problem  # outside the handler: what the system says of a connection is for operators

    async def _rounds(
        self, session: Session, method: str, params: JsonObject, call: Call, context: CallContext
    ) -> JsonObject:
        """Answer what a server of the stateless era requires, until it has all (2026-07-28, "Multi Round-Trip
        Requests")."""
        task_id: Any = None if context.channel is None else self._tasks.waiting(context)
        result: JsonObject = {} if task_id is not None else await session.request(method, params, call)
        is_complete = task_id is None and result.get("resultType", "complete") == "complete"
        if is_complete or not session.peer.is_stateless:
            return result
        with after_another_request():
            return await self._further_rounds(session, method, params, call, context, result, task_id)

    async def _further_rounds(
        self,
        session: Session,
        method: str,
        params: JsonObject,
        call: Call,
        context: CallContext,
        result: JsonObject,
        task_id: Any,
    ) -> JsonObject:
        for _ in range(MAX_ROUNDS):
            kind = result.get("resultType", "complete") if task_id is None else "task"
            if kind == "complete":
                return result
            if kind == "task" and call.listener.takes_tasks:
                task_id = task_id or result.get("taskId")
                return await self._tasks.result(
                    task_id, session, call, context, partial(self._answers, context=context)
                )
            if kind != "input_required":
                break
            answers = await self._answers(result.get("inputRequests"), context)
            if not answers:
                await asyncio.sleep(_AGAIN_SECONDS)
            answered = {**params, **({"inputResponses": answers} if answers else {})}
            if "requestState" in result:
                answered["requestState"] = result["requestState"]
            result = await session.request(method, answered, call)
        raise BackendProtocolError(f"The back end of {self._whose} failed: its answer is no result of {method}")

    async def _answers(self, required: Any, context: CallContext) -> JsonObject:
        """The client's answers by the server's keys. Raises InputRequired when the client answers with its next
        request."""
        requests: dict[str, ClientRequest] = {}
        for key, wire in (required if is_object(required) else {}).items():
            members = as_object(wire)
            if len(key) > MAX_KEY:
                raise BackendProtocolError(f"The back end of {self._whose} failed: a key of its requests is too long")
            requests[key] = read_request(str(members.get("method")), as_object(members.get("params")))
        if not requests:
            return {}
        if context.client_requests is None:
            raise ClientCapabilityMissing(sorted({_capability(request) for request in requests.values()}))
        answers = await context.client_requests.send(requests)
        return {key: written_answer(requests[key], answer) for key, answer in answers.items()}

    def _answered_fault(self, fault: UpstreamFault) -> RawAnswer | ToolResult:
        """An error of the server, as the answer of its kind of operation. Raises ClientCapabilityMissing."""
        if fault.code == MISSING_CAPABILITY:
            missing = missing_of(as_object(fault.data).get("requiredCapabilities"))
            if missing:
                raise ClientCapabilityMissing(missing)
        text = plain(fault.message)[:MAX_FAULT]
        if self._binding.method == "resources/read":
            is_absent = fault.code in {RESOURCE_NOT_FOUND, INVALID_PARAMS}
            return RawAnswer(
                text.encode(), "text/plain", is_error=True, status="404 Not Found" if is_absent else "error"
            )
        return ToolResult.error(f"{text} [{fault.code}]")


def _capability(request: ClientRequest) -> str:
    return capabilities_of(request)[-1]


def _parameter_headers(routed: tuple[RoutedArgument, ...], arguments: JsonObject) -> dict[str, str]:
    """`Mcp-Param-*` of arguments that the server's proxies route by (2026-07-28, "Custom Headers")."""
    headers: dict[str, str] = {}
    for argument in routed:
        value: Any = arguments
        for name in argument.path:
            value = as_object(value).get(name)
        if isinstance(value, bool):
            headers[f"Mcp-Param-{argument.header}"] = "true" if value else "false"
        elif isinstance(value, (str, int)):
            headers[f"Mcp-Param-{argument.header}"] = header_value(str(value))
    return headers
