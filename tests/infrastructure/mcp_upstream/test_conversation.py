"""Messages of one call are passed on in turns with those of others."""

import asyncio

from stoa.domain.client_requests.client_request import NO_CAPABILITIES
from stoa.infrastructure.mcp_upstream.conversation import MESSAGES_A_TURN, NoClient, QueuedConversation
from stoa.infrastructure.mcp_upstream.messages import Notification, Response


class Hearing(NoClient):
    capabilities = NO_CAPABILITIES

    def __init__(self) -> None:
        self.heard = 0

    async def log(self, params):
        self.heard += 1


async def test_messages_that_wait_are_passed_on_in_turns_with_other_work():
    async def reply(answer):
        raise AssertionError(answer)

    listener = Hearing()
    conversation = QueuedConversation(1, listener, reply)
    count = 20 * MESSAGES_A_TURN
    for _ in range(count):
        conversation.push(Notification("notifications/message", {"level": "info", "data": "x"}))
    conversation.push(Response(1, {"done": True}, None))
    turns: list[int] = []
    call = asyncio.create_task(conversation.result())
    while not call.done():
        await asyncio.sleep(0)
        turns.append(listener.heard)
    assert await call == {"done": True}
    assert listener.heard == count
    assert max(later - earlier for earlier, later in zip([0, *turns], turns, strict=False)) <= MESSAGES_A_TURN
