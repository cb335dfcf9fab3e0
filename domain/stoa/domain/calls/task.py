"""A Task: one call of a tool that goes on after its caller was answered, and can be asked for (MCP extension
`io.modelcontextprotocol/tasks`).

    working ⇄ input_required        either of them → completed | failed | cancelled

The last three are terminal: a terminal task never changes again. Every change makes a new value with the next version;
who keeps tasks compares versions, so that of two changes made at once one is lost and known to be. All of it is plain
JSON: questions, answers and the end are kept as the door writes them. Never holds a credential.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from stoa.domain.access.fair_share import Holder
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.schema.json_value import JsonObject

TTL_SECONDS = 3600.0
POLL_SECONDS = 2.0
MESSAGE_LIMIT = 1000
"""Characters of a status message."""
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
    """Why there is no result, as the door writes errors."""

    code: int
    message: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """What a client answered so far."""

    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As written, by key; each was found fit."""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the questions that these answer, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done: the invocation without who makes it. It may be run again, by another process, when questions
    were answered."""

    tool: str
    arguments: JsonObject
    consumer: str = "unknown"
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`lease_until`: while it is working, somebody runs it who says so again before this moment; afterwards its runner
    is dead. None: nobody runs it."""

    id: str
    owner: str
    """`identity_key` of who began it: nobody else learns that it exists."""
    tenant: TenantId | None
    tool: str
    created_at: datetime
    updated_at: datetime
    """When something changed that its owner can see."""
    ttl_seconds: float = TTL_SECONDS
    """From its creation; afterwards it is gone."""
    poll_seconds: float = POLL_SECONDS
    status: TaskStatus = TaskStatus.WORKING
    message: str | None = None
    work: Work | None = None
    """None when it is terminal: what is not needed is not kept."""
    questions: Mapping[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    """Those that are open, by key."""
    answers: JsonObject = field(default_factory=dict[str, Any])
    """By key; each was found fit. A key is never asked again."""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the questions that are open or answered, by key."""
    result: JsonObject | None = None
    """What the call would have returned; set exactly when it is completed."""
    error: TaskError | None = None
    """Set exactly when it failed."""
    lease_until: datetime | None = None
    unbilled: JsonObject | None = None
    """The metering event of the run under way, should its runner die now. None: nothing runs, or what ran has
    recorded its own."""
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
        """Who it counts for."""
        return Holder(self.tenant, self.owner)

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    @property
    def expires_at(self) -> datetime:
        return self.created_at + timedelta(seconds=self.ttl_seconds)

    def is_abandoned(self, now: datetime) -> bool:
        """Its runner has not been heard of in time. It must not be run again: nobody knows how far it came."""
        return self.status is TaskStatus.WORKING and self.lease_until is not None and self.lease_until <= now

    def is_of(self, principal: Principal | None) -> bool:
        """May this caller, with its view on its tenant, know of it?"""
        return principal is not None and self.owner == principal.identity_key and self.tenant == principal.tenant

    def renewed(
        self, now: datetime, lease_seconds: float, message: str | None, *, unbilled: JsonObject | None = None
    ) -> "Task":
        """Its runner is alive, and says how it stands. `unbilled`: what its run would cost now; None: as before."""
        if self.status is not TaskStatus.WORKING:
            return self
        text = None if message is None else message[:MESSAGE_LIMIT]
        seen = now if text != self.message else self.updated_at
        lease = now + timedelta(seconds=lease_seconds)
        owed = self.unbilled if unbilled is None else unbilled
        return self._next(lease_until=lease, message=text, updated_at=seen, unbilled=owed)

    def asked(self, questions: Mapping[str, JsonObject], now: datetime, fingerprints: Mapping[str, str] = {}) -> "Task":
        """It waits for these answers; nobody runs it meanwhile. Keys that were answered are not asked again."""
        still_open = {key: question for key, question in questions.items() if key not in self.answers}
        if self.status is not TaskStatus.WORKING or not still_open:
            return self
        known = {**{key: fingerprints[key] for key in still_open if key in fingerprints}, **self._of_answers()}
        return self._next(
            status=TaskStatus.INPUT_REQUIRED,
            questions=still_open,
            fingerprints=known,
            message=None,
            lease_until=None,
            unbilled=None,
            updated_at=now,
        )

    def _of_answers(self) -> dict[str, str]:
        return {key: digest for key, digest in self.fingerprints.items() if key in self.answers}

    def answered(self, answers: Mapping[str, Any], now: datetime) -> "Task":
        """What is no open question is ignored. It goes on when it is `resumed`, not by itself."""
        fresh = {key: answer for key, answer in answers.items() if key in self.questions}
        if self.status is not TaskStatus.INPUT_REQUIRED or not fresh:
            return self
        still_open = {key: question for key, question in self.questions.items() if key not in fresh}
        return self._next(questions=still_open, answers={**self.answers, **fresh}, updated_at=now)

    def resumed(self, now: datetime, lease_seconds: float, *, unbilled: JsonObject | None = None) -> "Task":
        """It is run again; nothing may be open any more."""
        if self.status is not TaskStatus.INPUT_REQUIRED or self.questions:
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
            questions=nothing,
            answers={},
            fingerprints=nothing,
            lease_until=None,
            unbilled=None,
            updated_at=now,
            **end,
        )

    def _next(self, **changes: Any) -> "Task":
        return replace(self, version=self.version + 1, **changes)
