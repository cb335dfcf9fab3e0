"""Requests of the stateless era (from 2026-07-28): each says everything about itself in its envelope."""

from stoa.application.gateway import Gateway
from stoa.domain.access.identity import Principal
from stoa.interfaces.mcp.engine.dispatcher import Dispatcher
from stoa.interfaces.mcp.engine.method_table import MethodTable
from stoa.interfaces.mcp.engine.replies import fault_reply
from stoa.interfaces.mcp.exchange import Exchange, MethodCall, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Fault,
    Notification,
    Request,
    Response,
)
from stoa.interfaces.mcp.wire import envelope, param_headers
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.revisions import STATELESS_REVISIONS


class StatelessEra:
    """Checks a message against its envelope and headers, then dispatches it. There are no sessions and no batches; a
    message that does not fit is refused with an HTTP status of its own, before any handler runs."""

    def __init__(self, gateway: Gateway, methods: MethodTable, dispatcher: Dispatcher) -> None:
        self._gateway = gateway
        self._methods = methods
        self._dispatcher = dispatcher

    async def answer(self, exchange: Exchange, caller: Principal) -> Reply:
        """The reply to one message."""
        try:
            if exchange.version not in STATELESS_REVISIONS and exchange.headers is not None:
                envelope.check_known(exchange.version, exchange.message)
            message = messages.read(exchange.message)
            if not isinstance(message, Request):
                _check_notification(message, exchange)
                return Reply(202)
        except Fault as fault:
            return fault_reply(fault, fault.http_status)
        try:
            revision = envelope.check_envelope(message, exchange.headers)
            # Before the method is looked up: a proxy routed by these headers already.
            if message.method == "tools/call" and self._gateway.registry.has_routed and exchange.headers is not None:
                await self._check_param_headers(message, exchange, exchange.headers, caller)
            method = self._methods.get(message.method)
            if method is None or not method.in_stateless_era:
                raise Fault(METHOD_NOT_FOUND, f"Unknown method: {message.method}", http_status=404)
        except Fault as fault:
            return fault_reply(fault, fault.http_status, message.id)
        return await self._dispatcher.answer(method.handler, MethodCall(message, revision, caller, exchange))

    async def _check_param_headers(
        self, request: Request, exchange: Exchange, headers: Headers, caller: Principal
    ) -> None:
        """`Mcp-Param-*` headers must repeat the arguments. Raises Fault. Only tools that the caller may see are looked
        at, so that the check tells nothing of others."""
        name = request.params.get("name")
        viewer = caller.acting_for(exchange.tenant)
        if viewer is None or not isinstance(name, str):
            return
        if not self._gateway.registry.has_routed_arguments(viewer.tenant, name):
            return
        given = request.params.get("arguments")
        routed, arguments = await self._gateway.routed_arguments(caller, exchange.tenant, name, "mcp", given)
        param_headers.check(routed, arguments, headers)


def _check_notification(message: Notification | Response, exchange: Exchange) -> None:
    """Raises Fault for a response, and for a revision that does not exist."""
    if isinstance(message, Response):
        raise Fault(INVALID_REQUEST, "This revision has no requests from the server to respond to")
    if exchange.headers is not None:
        envelope.check_version(exchange.version)
