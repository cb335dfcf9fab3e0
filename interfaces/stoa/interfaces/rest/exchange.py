"""Helpers of every REST route: they run the pipeline for a request and write the answer or the refusal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pydantic_core
from werkzeug.exceptions import RequestEntityTooLarge

from stoa.application.gateway import Gateway
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.calls.invocation import BearerToken, Credential, Invocation, Outcome
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.errors import (
    BodyTooLarge,
    IdentityUnavailable,
    InvalidArguments,
    NotAuthenticated,
    QuotaExceeded,
    StoaError,
    Violation,
)
from stoa.domain.metering.money import to_json_number
from stoa.domain.operations.operation import Kind
from stoa.domain.policy.refusal import Refusal
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.interfaces.rest.rate_limit_headers import limit_headers
from stoa.interfaces.wire.bodies import BODY_KEY, REFUSED_KEY, Body
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.endpoints import Handler, HttpAnswer, HttpRequest
from stoa.interfaces.wire.errors import client_of, retry_after_seconds, wire_error
from stoa.interfaces.wire.json_text import PacedParser, TooManyValues

_UNUSABLE = InvalidArguments([Violation("", 'a JSON object; write the body as {"arguments": {...}}')])


@dataclass(frozen=True, slots=True)
class RestExchanges:
    """Runs requests to the REST door. `address_of`: returns, from a request's ASGI scope, the address that an
    unauthenticated client is counted under; None: not limited."""

    gateway: Gateway
    resource: ProtectedResource
    address_of: Callable[[Any], str | None]

    async def answer(self, handler: Handler, request: HttpRequest, parts: Mapping[str, str]) -> HttpAnswer:
        """The handler's answer, or the refusal that it raised. Strangers beyond their limits are refused before."""
        gateway = self.gateway
        address = self.address_of(request.scope)
        try:
            gateway.strangers.check(address, request.header_credential, "rest")
            return await handler(request, **parts)
        except StoaError as error:
            if isinstance(error, (NotAuthenticated, IdentityUnavailable)):
                gateway.strangers.refused(address, "rest", error)
            return self._refusal(request, error, None, client=await self._known_client(request))

    async def execute(self, request: HttpRequest, kind: Kind, name: str, *, has_body: bool = False) -> Outcome:
        """Runs the pipeline for the request and returns its outcome. Raises RequestEntityTooLarge."""
        arguments: Any = {}
        unusable: RequestEntityTooLarge | InvalidArguments | None = None
        if has_body:
            arguments, unusable = await body_arguments(request)
        credential: Credential = None
        unauthenticated: StoaError | None = None
        try:
            credential = request.credential
        except StoaError as refused:
            unauthenticated = refused.without_traceback()
        invocation = Invocation(
            credential=credential,
            name=name,
            arguments=arguments,
            door="rest",
            tenant=request.tenant,
            request_id=request.header(b"x-request-id"),
            consumer=request.header(b"x-consumer-id") or "unknown",
            kind=kind,
            trace=TraceContext.parse(request.header(b"traceparent"), request.header(b"tracestate")),
        )
        pipeline = self.gateway.invoke_operation
        if unauthenticated is None:
            outcome = await pipeline.execute(invocation)
        else:
            outcome = await pipeline.refuse(invocation, unauthenticated)
        if outcome.error is not None and outcome.principal is None:
            self.gateway.strangers.spend(self.address_of(request.scope), outcome.error)
        if unusable is not None and isinstance(outcome.error, InvalidArguments):
            if isinstance(unusable, RequestEntityTooLarge):
                try:
                    raise unusable
                finally:
                    unusable = None  # it refers to this frame
            return replace(outcome, error=unusable)
        return outcome

    def refused(self, request: HttpRequest, outcome: Outcome, error: StoaError) -> HttpAnswer:
        """The answer to a call that ended with `error`."""
        client = None if outcome.principal is None else outcome.principal.client
        return self._refusal(request, error, outcome.request_id, outcome.limit, client)

    def _refusal(
        self,
        request: HttpRequest,
        error: StoaError,
        request_id: str | None,
        verdict: LimitVerdict | None = None,
        client: str | None = None,
    ) -> HttpAnswer:
        """The answer to a refused request. `verdict`: of a counted call, for any reason of refusal. `client`: the OAuth
        client of the caller, if known."""
        body: JsonObject = {"error": error.code, "message": error.message}
        if isinstance(error, NotAuthenticated) and error.is_missing:
            body["hint"] = "send the header Authorization: Bearer TOKEN"
        if isinstance(error, InvalidArguments):
            body["violations"] = [{"path": v.path, "expected": v.expected} for v in error.violations]
        if request_id is not None:
            body["requestId"] = request_id
        status = wire_error(error).http_status
        self.gateway.refusals.tell(
            Refusal(error.refusal_reason, "rest", status, client or client_of(error), self.address_of(request.scope))
        )
        headers = limit_headers(verdict)
        challenge = self.resource.challenge(error)
        if challenge is not None:
            headers["WWW-Authenticate"] = challenge
        if isinstance(error, QuotaExceeded):
            headers |= limit_headers(error.verdict)
            headers["Retry-After"] = str(retry_after_seconds(error))
        return json_answer(body, status, headers)

    async def _known_client(self, request: HttpRequest) -> str | None:
        """The OAuth client of the request's token, if the token was verified a moment ago."""
        credential, callers = request.header_credential, self.gateway.callers
        if not isinstance(credential, BearerToken) or not callers.knows(credential.value):
            return None
        return (await callers.authenticate(credential)).client


def facts_of(outcome: Outcome) -> JsonObject:
    """The members about the call itself, in every answer of the pipeline."""
    return {
        "invokedAt": outcome.event.timestamp,
        "requestId": outcome.request_id,
        "latencyMs": outcome.latency_ms,
        "costUnits": to_json_number(outcome.cost),
    }


_json = PacedParser()


async def body_arguments(request: HttpRequest) -> tuple[Any, RequestEntityTooLarge | InvalidArguments | None]:
    """The arguments in the body, and the error to answer with. An unusable body becomes a value that the pipeline
    refuses and meters."""
    refused = request.scope.get(REFUSED_KEY)
    if isinstance(refused, BodyTooLarge):
        return None, RequestEntityTooLarge(refused.message)
    if isinstance(refused, StoaError):
        raise refused
    body: Body = request.scope.pop(BODY_KEY, b"")  # not kept: megabytes would stay until the call has ended
    if not body:
        return {}, None
    try:
        content = await _json.parse(body)
    except TooManyValues as refused:
        return None, RequestEntityTooLarge(f"{refused}")
    except ValueError:
        return None, _UNUSABLE
    return (content.get("arguments", {}), None) if is_object(content) else (None, _UNUSABLE)


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    return HttpAnswer(pydantic_core.to_json(value), status, headers or {})
