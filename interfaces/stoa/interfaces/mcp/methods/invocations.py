"""From a request that calls something to the pipeline's invocation: the same for tools, resources and prompts."""

from typing import Any

from stoa.domain.calls.invocation import Invocation
from stoa.domain.operations.operation import Kind
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault


def invocation_of(call: MethodCall, kind: Kind) -> Invocation:
    """Raises Fault where not even a name is given. A resource takes its arguments from its URI."""
    params, exchange = call.request.params, call.exchange
    member = "uri" if kind == "resource" else "name"
    name = params.get(member)
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, f"params.{member} must be a string")
    arguments: Any = None if kind == "resource" else params.get("arguments")
    return Invocation(
        credential=call.caller,
        name=name,
        arguments={} if arguments is None else arguments,
        door="mcp",
        tenant=exchange.tenant,
        request_id=exchange.request_id,
        consumer=exchange.consumer,
        kind=kind,
        proof=exchange.credential,
    )
