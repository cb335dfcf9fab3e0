"""A task: one call of a tool that goes on after its caller was answered (MCP extension
`io.modelcontextprotocol/tasks`).

    working ⇄ input_required        either of them → completed | failed | cancelled

The last three are terminal: a terminal task never changes again. Every change makes a new value with the next version.
Stores compare versions, so that the loser of two concurrent changes learns of it. All of it is plain JSON: client
requests, answers and the result are stored as the door writes them. A task never holds a credential.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from stoa.domain.access.fair_share import Holder
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.schema.json_value import JsonObject

TTL_SECONDS = 3600.0
POLL_SECONDS = 2.0
MESSAGE_LIMIT = 1000
"""Upper bound on the characters of a status message."""
_ID_BYTES = 32


class TaskStatus(StrEnum):
    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class TaskError:
    """The error of a failed task, as the door writes errors."""

    code: int
    message: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """The client's answers so far, with the fingerprints of the requests that they answer."""

    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Answers as the client wrote them, by key; each fits its client request."""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of the answered client requests, by key."""
    memo: str | None = None
    """As of Task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The invocation without its caller. Another process may run it again once client requests were answered."""

    tool: str
    arguments: JsonObject
    consumer: str = "unknown"
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`lease_until`: the runner of a working task must renew the lease before this time; after it the runner is
    presumed dead. None: no process runs the task."""

    id: str
    owner: str
    """`identity_key` of the caller who began it; other callers do not learn that it exists."""
    tenant: TenantId | None
    tool: str
    created_at: datetime
    updated_at: datetime
    """The last change that its owner can see."""
    ttl_seconds: float = TTL_SECONDS
    """Lifetime counted from creation, in seconds; afterwards the task is deleted."""
    poll_seconds: float = POLL_SECONDS
    status: TaskStatus = TaskStatus.WORKING
    message: str | None = None
    work: Work | None = None
    """None for a terminal task: arguments are not stored longer than needed."""
    client_requests: Annotated[Mapping[str, JsonObject], Field(alias="questions")] = field(
        default_factory=dict[str, JsonObject]
    )
    """The open client requests, by key. Stored as `questions`, the name in records of earlier releases."""
    answers: JsonObject = field(default_factory=dict[str, Any])
    """Answers by key; each fits its client request. An answered key is never requested again."""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of the open and answered client requests, by key."""
    memo: str | None = None
    """Text that the back end keeps from one run to the next, which may be in another process. Never shown."""
    result: JsonObject | None = None
    """The result of the call; set exactly when the task is completed."""
    error: TaskError | None = None
    """Set exactly when the task failed."""
    lease_until: datetime | None = None
    unbilled: JsonObject | None = None
    """The metering event to record for the current run if its runner dies now. None: no run, or the run has recorded
    its own event."""
    version: int = 1

    @classmethod
    def begin(
        cls,
        work: Work,
        owner: Principal,
        now: datetime,
        lease_seconds: float,
        given: GivenAnswers = GivenAnswers(),
        *,
        unbilled: JsonObject | None = None,
    ) -> "Task":
        """A working task of `owner`, with an id of 256 random bits."""
        return cls(
            id=secrets.token_urlsafe(_ID_BYTES),
            owner=owner.identity_key,
            tenant=owner.tenant,
            tool=work.tool,
            created_at=now,
            updated_at=now,
            work=work,
            answers=dict(given.answers),
            fingerprints=dict(given.fingerprints),
            lease_until=now + timedelta(seconds=lease_seconds),
            unbilled=unbilled,
        )

    @property
    def holder(self) -> Holder:
        """The caller and tenant whose share of tasks it takes."""
        return Holder(self.tenant, self.owner)

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    @property
    def expires_at(self) -> datetime:
        return self.created_at + timedelta(seconds=self.ttl_seconds)

    def is_abandoned(self, now: datetime) -> bool:
        """True when its lease has lapsed. It must not be run again: how far its call came is unknown."""
        return self.status is TaskStatus.WORKING and self.lease_until is not None and self.lease_until <= now

    def is_of(self, principal: Principal | None) -> bool:
        """True for the caller who began it, with the same view on its tenant."""
        return principal is not None and self.owner == principal.identity_key and self.tenant == principal.tenant

    def renewed(
        self, now: datetime, lease_seconds: float, message: str | None, *, unbilled: JsonObject | None = None
    ) -> "Task":
        """Extend the lease and set the status message. `unbilled`: the event of its run as of now; None: as before."""
        if self.status is not TaskStatus.WORKING:
            return self
        text = None if message is None else message[:MESSAGE_LIMIT]
        seen = now if text != self.message else self.updated_at
        lease = now + timedelta(seconds=lease_seconds)
        owed = self.unbilled if unbilled is None else unbilled
        return self._next(lease_until=lease, message=text, updated_at=seen, unbilled=owed)

    def requiring_input(
        self,
        client_requests: Mapping[str, JsonObject],
        now: datetime,
        fingerprints: Mapping[str, str] = {},
        *,
        memo: str | None = None,
    ) -> "Task":
        """Wait for the answers to these client requests, without a runner. Answered keys are not requested again; self
        when nothing else is left."""
        still_open = {key: request for key, request in client_requests.items() if key not in self.answers}
        if self.status is not TaskStatus.WORKING or not still_open:
            return self
        of_open = {key: fingerprints[key] for key in still_open if key in fingerprints}
        return self._next(
            status=TaskStatus.INPUT_REQUIRED,
            client_requests=still_open,
            fingerprints={**of_open, **self._fingerprints_of_answers()},
            memo=memo,
            message=None,
            lease_until=None,
            unbilled=None,
            updated_at=now,
        )

    def _fingerprints_of_answers(self) -> dict[str, str]:
        return {key: digest for key, digest in self.fingerprints.items() if key in self.answers}

    def answered(self, answers: Mapping[str, Any], now: datetime) -> "Task":
        """Store the answers to open client requests; other answers are ignored. The task goes on when it is
        `resumed`."""
        fresh = {key: answer for key, answer in answers.items() if key in self.client_requests}
        if self.status is not TaskStatus.INPUT_REQUIRED or not fresh:
            return self
        still_open = {key: request for key, request in self.client_requests.items() if key not in fresh}
        return self._next(client_requests=still_open, answers={**self.answers, **fresh}, updated_at=now)

    def resumed(self, now: datetime, lease_seconds: float, *, unbilled: JsonObject | None = None) -> "Task":
        """Work again under a new lease; self while a client request is open."""
        if self.status is not TaskStatus.INPUT_REQUIRED or self.client_requests:
            return self
        lease = now + timedelta(seconds=lease_seconds)
        return self._next(status=TaskStatus.WORKING, lease_until=lease, unbilled=unbilled, updated_at=now)

    def completed(self, result: JsonObject, now: datetime) -> "Task":
        return self._over(now, status=TaskStatus.COMPLETED, result=result, message=None)

    def failed(self, error: TaskError, now: datetime) -> "Task":
        return self._over(now, status=TaskStatus.FAILED, error=error, message=error.message[:MESSAGE_LIMIT])

    def cancelled(self, now: datetime) -> "Task":
        return self._over(now, status=TaskStatus.CANCELLED, message=None)

    def _over(self, now: datetime, **end: Any) -> "Task":
        if self.is_over:
            return self
        nothing: Mapping[str, Any] = {}
        return self._next(
            work=None,
            client_requests=nothing,
            answers={},
            fingerprints=nothing,
            memo=None,
            lease_until=None,
            unbilled=None,
            updated_at=now,
            **end,
        )

    def _next(self, **changes: Any) -> "Task":
        return replace(self, version=self.version + 1, **changes)
