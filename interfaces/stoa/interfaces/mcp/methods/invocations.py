"""The invocation that a request asks the pipeline for: of a tool, a resource or a prompt."""

from typing import Any

from stoa.domain.calls.invocation import BearerToken, Caller, Invocation
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.operations.operation import Kind
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault


def invocation_of(call: MethodCall, kind: Kind) -> Invocation:
    """The invocation of a tools/call, resources/read or prompts/get. A resource takes its arguments from its URI.
    Raises Fault where the name is missing."""
    params, exchange = call.request.params, call.exchange
    member = "uri" if kind == "resource" else "name"
    name = params.get(member)
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, f"params.{member} must be a string")
    credential, headers = exchange.credential, exchange.headers
    if not isinstance(credential, Caller):
        credential = Caller(call.caller, credential if isinstance(credential, BearerToken) else None)
    meta: Any = params.get("_meta")
    trace = None
    if meta.__class__ is dict and "traceparent" in meta:  # of this message; HTTP's belongs to the request around it
        trace = TraceContext.parse(meta["traceparent"], meta.get("tracestate"))
    elif headers is not None and b"traceparent" in headers:
        trace = TraceContext.parse(headers[b"traceparent"], headers.get(b"tracestate"))
    arguments: Any = None if kind == "resource" else params.get("arguments")
    return Invocation(  # by position: names cost more, and every call comes here
        credential,
        name,
        {} if arguments is None else arguments,
        "mcp",
        exchange.tenant,
        exchange.request_id,
        exchange.consumer,
        kind,
        trace,
    )
