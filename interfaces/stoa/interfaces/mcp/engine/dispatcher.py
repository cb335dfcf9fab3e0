"""Running the handler of one request, the same in both eras."""

import logging

from stoa.domain.errors import StoaError
from stoa.interfaces.mcp.engine.method_table import Handler
from stoa.interfaces.mcp.engine.replies import ErrorReplies, fault_reply
from stoa.interfaces.mcp.exchange import PLAIN, MethodCall, Reply
from stoa.interfaces.mcp.jsonrpc.messages import Fault

_log = logging.getLogger(__name__)


class Dispatcher:
    """Calls a handler and turns its exceptions into replies; only a cancellation propagates."""

    def __init__(self, errors: ErrorReplies) -> None:
        self._errors = errors

    async def answer(self, handler: Handler, call: MethodCall) -> Reply:
        try:
            answer = await handler(call)
            return Reply(200, answer, PLAIN) if isinstance(answer, bytes) else answer
        except Fault as fault:
            # The handshake era answers every request it understood with 200; its errors are in the body.
            return fault_reply(fault, fault.http_status if call.revision.is_stateless else 200, call.request.id)
        except StoaError as caught:
            error = caught
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must not leak to the client
            _log.exception("%s failed unexpectedly", call.request.method)
            error = StoaError("Internal error")
        return self._errors.reply(error, request_id=call.request.id, revision=call.revision)
