"""Client requests of one call under one governor: one class waits for the answers, one collects them round by round."""

import asyncio
from abc import abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from stoa.application.client_requests.governor import ClientRequestGovernor, PermittedRequest, RequestingCall
from stoa.application.concurrency.deadline import Deadline
from stoa.application.concurrency.gather import gather_or_cancel
from stoa.application.ports.client_channel import (
    ClientChannel,
    GovernedClientRequests,
    RoundClientChannel,
    WaitingClientChannel,
)
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    InputRequired,
)
from stoa.domain.errors import BackendTimedOut, ClientCapabilityMissing, StoaError
from stoa.domain.metering.event import Status


class CallClientRequests(GovernedClientRequests):
    """The pipeline's interface to client requests: `send`, and the end of a round, which it learns of by
    InputRequired."""

    @abstractmethod
    async def end_round(self, requests: Mapping[str, ClientRequest]) -> dict[str, ClientRequest]:
        """The client requests to send at the end of this round. Raises as `send` does."""
        ...


def govern(
    channel: ClientChannel, governor: ClientRequestGovernor, call: RequestingCall, deadline: Deadline
) -> CallClientRequests | None:
    """The client requests of a call; None for a channel that carries one-way messages only."""
    if isinstance(channel, RoundClientChannel):
        return RoundClientRequests(channel, governor, call)
    if isinstance(channel, WaitingClientChannel):
        return WaitingClientRequests(channel, governor, call, deadline)
    return None


class WaitingClientRequests(CallClientRequests):
    """Sends client requests and waits for the answers. People take longer than back ends, so `deadline`, the call's,
    stands still while the client is waited for; the channel has a time limit of its own."""

    def __init__(
        self, channel: WaitingClientChannel, governor: ClientRequestGovernor, call: RequestingCall, deadline: Deadline
    ) -> None:
        self._channel = channel
        self._governor = governor
        self._call = call
        self._deadline = deadline
        self._waiting = 0

    async def send(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        self._governor.count(self._call, len(requests))
        _require(self._channel.capabilities, requests)
        permitted = {key: await self._governor.permit(self._call, request) for key, request in requests.items()}
        await self._governor.limit(self._call, len(permitted))
        return await gather_or_cancel({key: self._send_one(key, request) for key, request in permitted.items()})

    async def end_round(self, requests: Mapping[str, ClientRequest]) -> dict[str, ClientRequest]:
        """Raises ClientCapabilityMissing: this client does not repeat its call with the answers."""
        del requests  # none is sent
        raise ClientCapabilityMissing(("multi round-trip requests",))

    async def _send_one(self, key: str, permitted: PermittedRequest) -> ClientAnswer:
        call, governor = self._call, self._governor
        started_ns = governor.reserve_event()
        try:
            with self._deadline_paused():
                answer = (await self._channel.ask({key: permitted.request}))[key]
        except asyncio.CancelledError:
            await governor.record(call, permitted, Status.CANCELLED, started_ns=started_ns)
            raise
        except StoaError as failure:
            status = Status.TIMEOUT if isinstance(failure, BackendTimedOut) else Status.ERROR
            await governor.record(call, permitted, status, started_ns=started_ns, error=failure)
            raise
        except Exception:  # the request went out before this defect, and every reserved event is recorded
            await governor.record(call, permitted, Status.ERROR, started_ns=started_ns)
            raise
        lost = await governor.record(call, permitted, Status.SUCCESS, started_ns=started_ns)
        if lost is not None:  # an answer whose event is not kept is withheld, as a call's result is
            raise lost
        return answer

    @contextmanager
    def _deadline_paused(self) -> Generator[None]:
        """Pauses the deadline from the first to the last of the requests that are sent at once."""
        if not self._waiting:
            self._deadline.pause()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._deadline.resume()


class RoundClientRequests(CallClientRequests):
    """Collects the answers that came with the client's request; an unanswered request ends the round."""

    def __init__(self, channel: RoundClientChannel, governor: ClientRequestGovernor, call: RequestingCall) -> None:
        self._channel = channel
        self._governor = governor
        self._call = call
        self._permitted: dict[str, PermittedRequest] = {}

    async def send(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        self._governor.count(self._call, len(requests))
        # Also what was answered passes the policy, which may have changed since the last round.
        permitted = {key: await self._governor.permit(self._call, request) for key, request in requests.items()}
        self._permitted |= permitted
        allowed = {key: request.request for key, request in permitted.items()}
        answers = await self._channel.collect(allowed)
        unanswered = {key: request for key, request in allowed.items() if key not in answers}
        _require(self._channel.capabilities, unanswered)
        if unanswered:
            raise InputRequired(unanswered)
        return answers

    async def end_round(self, requests: Mapping[str, ClientRequest]) -> dict[str, ClientRequest]:
        """Limits and meters the requests to send. A back end may have raised InputRequired without `send`: requests
        without a permit pass the policy now."""
        capabilities = self._channel.capabilities
        _require(capabilities, requests)
        sent: dict[str, PermittedRequest] = {}
        for key, request in requests.items():
            permitted = self._permitted.get(key)
            if permitted is None or permitted.request is not request:
                self._governor.count(self._call, 1)
                permitted = await self._governor.permit(self._call, request)
            sent[key] = permitted
        await self._governor.limit(self._call, len(sent))
        for permitted in sent.values():
            lost = await self._governor.record(self._call, permitted, Status.INPUT_REQUIRED)
            if lost is not None:
                raise lost
        return {key: capabilities.fitted(permitted.request) for key, permitted in sent.items()}


def _require(capabilities: ClientCapabilities, requests: Mapping[str, ClientRequest]) -> None:
    missing = capabilities.missing(requests)
    if missing:
        raise ClientCapabilityMissing(missing)
