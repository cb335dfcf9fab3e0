"""Helpers of every REST route: they read the request and write the answer or the refusal."""

from dataclasses import replace
from typing import Any, cast

import pydantic_core
from quart import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from stoa.application.gateway import Gateway
from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.calls.invocation import BearerToken, Caller, Credential, Invocation, Outcome
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
from stoa.interfaces.wire.bodies import AUTHENTICATED_KEY, BODY_KEY, REFUSED_KEY, Body
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.credentials import credential_of, tenant_of
from stoa.interfaces.wire.errors import client_of, retry_after_seconds, wire_error
from stoa.interfaces.wire.json_text import PacedParser, TooManyValues

_UNUSABLE = InvalidArguments([Violation("", 'a JSON object; write the body as {"arguments": {...}}')])


def header_credential() -> Credential:
    """The credential in the Authorization header, not verified."""
    return credential_of(request.headers.get("authorization"))


def caller_credential() -> Credential:
    """The request's caller if it was authenticated before its body was read, else the credential to verify. Raises
    NotAuthenticated or IdentityUnavailable as that authentication did: no token is verified twice."""
    admission = _scope().get(AUTHENTICATED_KEY)
    if isinstance(admission, (NotAuthenticated, IdentityUnavailable)):
        raise admission
    return admission if isinstance(admission, Caller) else header_credential()


def _scope() -> dict[str, Any]:
    return cast("dict[str, Any]", request.scope)


def asked_tenant() -> TenantId | None:
    return tenant_of(request.query_string)


def query_value(name: str, default: str = "") -> str:
    return request.args.get(name, default)


def query_values(name: str) -> list[str]:
    return request.args.getlist(name)


async def execute(gateway: Gateway, kind: Kind, name: str, *, has_body: bool = False) -> Outcome:
    """Runs the pipeline for the request and returns its outcome. Raises RequestEntityTooLarge."""
    arguments: Any = {}
    unusable: RequestEntityTooLarge | InvalidArguments | None = None
    if has_body:
        arguments, unusable = await body_arguments()
    credential: Credential = None
    unauthenticated: StoaError | None = None
    try:
        credential = caller_credential()
    except StoaError as refused:
        unauthenticated = refused.without_traceback()
    invocation = Invocation(
        credential=credential,
        name=name,
        arguments=arguments,
        door="rest",
        tenant=asked_tenant(),
        request_id=request.headers.get("x-request-id"),
        consumer=request.headers.get("x-consumer-id") or "unknown",
        kind=kind,
        trace=TraceContext.parse(request.headers.get("traceparent"), request.headers.get("tracestate")),
    )
    pipeline = gateway.invoke_operation
    if unauthenticated is None:
        outcome = await pipeline.execute(invocation)
    else:
        outcome = await pipeline.refuse(invocation, unauthenticated)
    if outcome.error is not None and outcome.principal is None:
        gateway.strangers.spend(g.address, outcome.error)
    if unusable is not None and isinstance(outcome.error, InvalidArguments):
        if isinstance(unusable, RequestEntityTooLarge):
            try:
                raise unusable
            finally:
                unusable = None  # it refers to this frame
        return replace(outcome, error=unusable)
    return outcome


def facts_of(outcome: Outcome) -> JsonObject:
    """The members about the call itself, in every answer of the pipeline."""
    return {
        "invokedAt": outcome.event.timestamp,
        "requestId": outcome.request_id,
        "latencyMs": outcome.latency_ms,
        "costUnits": to_json_number(outcome.cost),
    }


_json = PacedParser()


async def body_arguments() -> tuple[Any, RequestEntityTooLarge | InvalidArguments | None]:
    """The arguments in the body, and the error to answer with. An unusable body becomes a value that the pipeline
    refuses and meters."""
    refused = _scope().get(REFUSED_KEY)
    if isinstance(refused, BodyTooLarge):
        return None, RequestEntityTooLarge(refused.message)
    if isinstance(refused, StoaError):
        raise refused
    body: Body = _scope().pop(BODY_KEY, b"")  # not kept: megabytes would stay until the call has ended
    if not body:
        return {}, None
    try:
        content = await _json.parse(body)
    except TooManyValues as refused:
        return None, RequestEntityTooLarge(f"{refused}")
    except ValueError:
        return None, _UNUSABLE
    return (content.get("arguments", {}), None) if is_object(content) else (None, _UNUSABLE)


def refusal(
    error: StoaError,
    resource: ProtectedResource,
    request_id: str | None,
    verdict: LimitVerdict | None = None,
    client: str | None = None,
) -> Response:
    """The response to a refused request. `verdict`: of a counted call, for any reason of refusal. `client`: the OAuth
    client of the caller, if known."""
    body: JsonObject = {"error": error.code, "message": error.message}
    if isinstance(error, NotAuthenticated) and error.is_missing:
        body["hint"] = "send the header Authorization: Bearer TOKEN"
    if isinstance(error, InvalidArguments):
        body["violations"] = [{"path": v.path, "expected": v.expected} for v in error.violations]
    if request_id is not None:
        body["requestId"] = request_id
    status = wire_error(error).http_status
    g.gateway.refusals.tell(Refusal(error.refusal_reason, "rest", status, client or client_of(error), g.address))
    headers = limit_headers(verdict)
    challenge = resource.challenge(error)
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    if isinstance(error, QuotaExceeded):
        headers |= limit_headers(error.verdict)
        headers["Retry-After"] = str(retry_after_seconds(error))
    return json_answer(body, status, headers)


def refused(outcome: Outcome, error: StoaError, resource: ProtectedResource) -> Response:
    """The answer to a call that ended with `error`."""
    client = None if outcome.principal is None else outcome.principal.client
    return refusal(error, resource, outcome.request_id, outcome.limit, client)


async def known_client(gateway: Gateway) -> str | None:
    """The OAuth client of the request's token, if the token was verified a moment ago."""
    credential = header_credential()
    if not isinstance(credential, BearerToken) or not gateway.callers.knows(credential.value):
        return None
    return (await gateway.callers.authenticate(credential)).client


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(pydantic_core.to_json(value), status, headers, content_type="application/json")
