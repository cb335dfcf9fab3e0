"""The invocation that a request asks the pipeline for: of a tool, a resource or a prompt."""

from typing import Any

from stoa.domain.calls.invocation import BearerToken, Caller, Invocation
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.operations.operation import Kind
from stoa.domain.schema.json_value import as_object
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
    token = exchange.credential
    meta, trace = params.get("_meta"), None
    if isinstance(meta, dict) and "traceparent" in meta:  # of this message; HTTP's belongs to the request around it
        sent = as_object(params["_meta"])
        trace = TraceContext.parse(sent["traceparent"], sent.get("tracestate"))
    elif exchange.headers is not None and (parent := exchange.headers.get(b"traceparent")) is not None:
        trace = TraceContext.parse(parent, exchange.headers.get(b"tracestate"))
    arguments: Any = None if kind == "resource" else params.get("arguments")
    return Invocation(
        credential=Caller(call.caller, token if isinstance(token, BearerToken) else None),
        name=name,
        arguments={} if arguments is None else arguments,
        door="mcp",
        tenant=exchange.tenant,
        request_id=exchange.request_id,
        consumer=exchange.consumer,
        kind=kind,
        trace=trace,
    )
