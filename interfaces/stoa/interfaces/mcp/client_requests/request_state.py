"""The state between the rounds of a stateless call, which travels sealed with the client.

2026-07-28, "Multi Round-Trip Requests": the client brings `requestState` back unchanged. It is encrypted and
authenticated (AES-256-GCM), so it can be neither read nor changed; its binding (caller, operation, arguments, endpoint)
is authenticated with it. The key is derived from the deployment's secret, so that every replica opens what another one
sealed. It expires, but it can be used more than once until then: all except a state with a confirmation that a policy
demands, requested or given, which is good for one call (docs/decisions/0032).
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import pydantic_core

from stoa.application.memory.one_time_marks import InMemoryOneTimeMarks
from stoa.application.ports.clock import Clock
from stoa.application.ports.one_time_marks import OneTimeMarks
from stoa.domain.errors import InvalidState
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.wire.seal import BrokenSeal, Seal

LIFETIME_SECONDS = 600


@dataclass(frozen=True, slots=True)
class RoundState:
    """The answers and open requests of earlier rounds."""

    round: int = 0
    answers: JsonObject = field(default_factory=dict[str, Any])
    """Raw answers by key; each was found fit."""
    fingerprints: dict[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of the client requests that these answer, by key."""
    sent: dict[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of the client requests that the last round ended with, by key."""
    is_used_once: bool = False
    """A policy's confirmation is among the requests or answers."""


class RequestStates:
    """Seals and opens states. `secret`: at least 32 random bytes, the same on all replicas. `audience`: the URL of this
    endpoint. `marks`: where used states are noted; None: in this process. `reach`: names the processes that share the
    marks, empty for all that have the secret; other processes refuse states that are good for one call."""

    def __init__(
        self, secret: bytes, clock: Clock, audience: str, marks: OneTimeMarks | None = None, reach: str = ""
    ) -> None:
        self._marks = marks or InMemoryOneTimeMarks(clock)
        self._reach = reach if marks is not None else secrets.token_hex(8)
        self._seal = Seal(secret, b"stoa mcp requestState v1", "v2.")
        self._clock = clock
        self._audience = audience

    def seal(self, state: RoundState, *bound_to: Any) -> str:
        """The sealed state. `bound_to`: JSON values that must be the same when the state comes back."""
        payload = pydantic_core.to_json(
            {
                "expires": self._clock.now().timestamp() + LIFETIME_SECONDS,
                "round": state.round,
                "answers": state.answers,
                "answered": state.fingerprints,
                "asked": state.sent,
                **({"once": secrets.token_hex(16), "reach": self._reach} if state.is_used_once else {}),
            }
        )
        return self._seal.close(payload, self._binding(bound_to))

    async def open(self, token: Any, *bound_to: Any) -> RoundState:
        """Decrypts a state; one that is good for one call is used up by that. Raises InvalidState, the same for every
        reason, or SharedStateUnavailable."""
        state = self._unsealed(token, bound_to)
        once = state.get("once")
        if once is not None and not (state["reach"] == self._reach and await self._marks.take(once, state["expires"])):
            raise InvalidState
        return RoundState(state["round"], state["answers"], state["answered"], state["asked"], once is not None)

    def _unsealed(self, token: Any, bound_to: tuple[Any, ...]) -> JsonObject:
        try:
            payload = self._seal.open(token, self._binding(bound_to))
        except BrokenSeal as caught:
            raise InvalidState from caught
        state: JsonObject = pydantic_core.from_json(payload)
        if state["expires"] <= self._clock.now().timestamp():
            raise InvalidState
        return state

    def _binding(self, bound_to: tuple[Any, ...]) -> bytes:
        # Sorted: clients may bring the members of `arguments` back in another order.
        text = json.dumps([self._audience, *bound_to], sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).digest()
