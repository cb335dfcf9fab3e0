"""subscriptions/listen (2026-07-28): the request; `subscriptions.py` has the streams that answer it."""

from stoa.application.gateway import Gateway
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.interfaces.mcp.exchange import MethodCall, Reply
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_REQUEST, Fault
from stoa.interfaces.mcp.methods.subscriptions import Subscriptions
from stoa.interfaces.mcp.methods.tasks import Tasks


class ListenMethod:
    """Opens a listen stream for lists, resources and tasks alike. The tasks are looked up first, so that the
    acknowledgement names only those that the caller may follow."""

    def __init__(self, gateway: Gateway, subscriptions: Subscriptions, tasks: Tasks) -> None:
        self._gateway = gateway
        self._subscriptions = subscriptions
        self._tasks = tasks

    async def listen(self, call: MethodCall) -> Reply:
        """Raises Fault where the client takes no events."""
        if call.exchange.stream is None:
            message = "Accept text/event-stream to listen"
            raise Fault(INVALID_REQUEST, message, http_status=406, reason=RefusalReason.NOT_ACCEPTABLE)
        await self._gateway.callers.limit(call.caller)
        task_ids = await self._tasks.watched(call)
        reply = await self._subscriptions.listen(call, task_ids)
        if task_ids and reply.events is not None:
            self._tasks.follow(reply.events, call, task_ids, self._subscriptions)
        return reply
