"""completion/complete."""

from collections.abc import Mapping
from typing import Literal

from stoa.application.catalogue.complete_argument import CompletionQuery
from stoa.application.gateway import Gateway
from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault
from stoa.interfaces.wire import shaping

_REFERENCES: dict[object, tuple[Literal["resource", "prompt"], str]] = {
    "ref/prompt": ("prompt", "name"),
    "ref/resource": ("resource", "uri"),
}
"""Kind, and the member that names it."""


class CompletionMethods:
    def __init__(self, gateway: Gateway, server_info: JsonObject) -> None:
        self._gateway = gateway
        self._server_info = server_info

    async def complete(self, call: MethodCall) -> bytes:
        completion = await self._gateway.complete_argument.execute(call.caller, _query(call), "mcp")
        wire: JsonObject = {
            "completion": {
                "values": list(completion.values),
                "total": completion.total,
                "hasMore": completion.total > len(completion.values),
            }
        }
        return messages.result(call.request.id, shaping.with_meta(wire, call.revision, self._server_info))


def _query(call: MethodCall) -> CompletionQuery:
    """Raises Fault."""
    ref = as_object(call.request.params.get("ref"))
    argument = as_object(call.request.params.get("argument"))
    kind_of_ref = ref.get("type")
    reference = _REFERENCES.get(kind_of_ref) if isinstance(kind_of_ref, str) else None
    if reference is None:
        raise Fault(INVALID_PARAMS, "params.ref.type must be ref/prompt or ref/resource")
    kind, member = reference
    match ref.get(member), argument.get("name"), argument.get("value"):
        case str() as name, str() as argument_name, str() as value:
            return CompletionQuery(
                kind=kind,
                name=name,
                argument=argument_name,
                value=value,
                tenant=call.exchange.tenant,
                arguments=_context_arguments(call) if call.revision.has_completion_context else {},
            )
        case _:
            raise Fault(INVALID_PARAMS, f"params.ref.{member}, argument.name and argument.value must be strings")


def _context_arguments(call: MethodCall) -> Mapping[str, str]:
    """The arguments that the user filled in before this one. Raises Fault."""
    context = call.request.params.get("context", {})
    arguments = context.get("arguments", {}) if is_object(context) else None
    if not is_object(arguments) or not all(isinstance(value, str) for value in arguments.values()):
        raise Fault(INVALID_PARAMS, "params.context.arguments must be an object of strings")
    return arguments
