"""Client requests in the stateless era: rounds (MCP 2026-07-28, "Multi Round-Trip Requests").

The response to a call lists the open requests and carries a sealed state; the client repeats its call with the answers
and that state.
"""

from collections.abc import Mapping
from typing import Any

from stoa.application.ports.client_channel import RoundClientChannel
from stoa.application.ports.clock import Clock
from stoa.domain.calls.task import GivenAnswers
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationRequest,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.mcp.client_requests.notifications import NotificationChannel
from stoa.interfaces.mcp.client_requests.request_state import RequestStates, RoundState
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.wire.revisions import SERVER_INFO_KEY


class StatelessChannel(NotificationChannel, RoundClientChannel):
    """The channel of one round: answers come from `inputResponses` or the sealed `requestState` of its request."""

    def __init__(
        self, call: MethodCall, threshold: int, capabilities: ClientCapabilities, clock: Clock, states: RequestStates
    ) -> None:
        super().__init__(call, threshold, capabilities, clock)
        self._states = states
        self._responses = as_object(call.request.params.get("inputResponses"))
        self._state: RoundState | None = None
        self._answers: JsonObject = {}
        self._fingerprints: dict[str, str] = {}

    @property
    def given(self) -> GivenAnswers:
        """The answers so far, as the client wrote them."""
        return GivenAnswers(self._answers, self._fingerprints)

    async def collect(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """An answer that does not fit is no answer: the request goes out again. Raises InvalidState or
        SharedStateUnavailable."""
        state = await self._earlier_rounds()
        answers = {key: self._answer(key, request, state) for key, request in requests.items()}
        return {key: answer for key, answer in answers.items() if answer is not None}

    def _answer(self, key: str, request: ClientRequest, state: RoundState) -> ClientAnswer | None:
        """An answer counts when the last round sent this very request, as its sealed state proves. A form of the tool
        may also be filled in with the first request (SEP-2322); a policy's confirmation never (decision 0032)."""
        revision, digest = self._call.revision, fingerprint(request)
        was_sent = state.sent.get(key) == digest
        is_early = key not in state.sent and key not in state.answers and codec.may_come_unrequested(request)
        if key in self._responses and (was_sent or is_early):
            answer = codec.answer(request, self._responses[key], revision)
            if answer is not None:
                self._answers[key], self._fingerprints[key] = self._responses[key], digest
                return answer
        return codec.answer(request, state.answers[key], revision) if state.fingerprints.get(key) == digest else None

    async def _earlier_rounds(self) -> RoundState:
        # Not opened before the first client request: opening uses a confirmation up, which a refused call must not do.
        if self._state is None:
            token = self._call.request.params.get("requestState")
            self._state = RoundState() if token is None else await self._states.open(token, *self._binding())
            self._answers, self._fingerprints = dict(self._state.answers), dict(self._state.fingerprints)
        return self._state

    def _binding(self) -> tuple[Any, ...]:
        request, params = self._call.request, self._call.request.params
        target = params.get("name", params.get("uri"))
        caller, tenant = self._call.caller, self._call.exchange.tenant
        return caller.identity_key, caller.tenant, tenant, request.method, target, params.get("arguments")

    def input_required(self, requests: Mapping[str, ClientRequest], server_info: JsonObject) -> JsonObject:
        """InputRequiredResult with these requests and the state of this round. A `requestState` that no client request
        opened is not carried on."""
        earlier = self._state or RoundState()
        state = RoundState(
            earlier.round + 1,
            self._answers,
            self._fingerprints,
            sent={key: fingerprint(request) for key, request in requests.items()},
            is_used_once=earlier.is_used_once or any(map(_is_confirmation, requests.values())),
        )
        return {
            "resultType": "input_required",
            "inputRequests": {key: codec.request(request, self._call.revision) for key, request in requests.items()},
            "requestState": self._states.seal(state, *self._binding()),
            "_meta": {SERVER_INFO_KEY: server_info},
        }


def _is_confirmation(request: ClientRequest) -> bool:
    return isinstance(request, ElicitationRequest) and request.is_confirmation
