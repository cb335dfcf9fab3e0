"""Work that a back end has only accepted (202, RFC 9110 section 15.3.3): where the client can wait in a task, the state
is asked for at the URL that the answer names until the work is done.

That URL is bound by the same rules as a redirect: the origin of the tool, below its base path. It is asked at most
MAX_POLLS times and within the tool's timeout; what is not done by then is told as it stands.
"""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pydantic_core

from stoa.application.ports import CallContext
from stoa.domain.errors import QuotaExceeded, Unavailable
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import as_text, is_object

Pause = Callable[[float], Awaitable[object]]
"""Waits for so many seconds."""
Ask = Callable[[str], Awaitable[RawAnswer]]
"""Asks for the state at a path with its query."""
Resolve = Callable[[str, str], str | None]
"""The path, with its query, of a URL that the answer at another such path names; None: the rules do not allow it."""

MAX_POLLS = 200
LEAST_SECONDS = 0.5
MOST_SECONDS = 30.0
_FIRST_SECONDS, _GROWTH, _USUAL_SECONDS = 1.0, 1.5, 10.0
"""Pauses where the back end names none: they grow from the first to the usual one."""
_PLACES = ("Location", "Operation-Location", "Azure-AsyncOperation")
_STATES = ("status", "state", "provisioningState", "phase")
_WORKING = frozenset(
    {"accepted", "creating", "enqueued", "inprogress", "notstarted", "pending", "processing", "provisioning", "queued"}
    | {"running", "scheduled", "started", "starting", "submitted", "updating", "waiting", "working"}
)
"""Words for a state that is not the last, without spaces, hyphens and underscores."""
_BUSY = frozenset({"429", "503"})
_ELSEWHERE = frozenset({"301", "302", "303", "307", "308"})


async def finished(
    accepted: RawAnswer, place: str, context: CallContext, resolve: Resolve, ask: Ask, seconds: float, pause: Pause
) -> RawAnswer:
    """The answer of the work that `accepted`, the answer at `place`, began; `accepted` itself where the client does not
    wait in a task, or the URL may not be asked; the last state after `seconds`. Raises HttpFailure as a call does."""
    target = _named_place(accepted, place, resolve)
    if target is None or context.channel is None or not await _becomes_task(context):
        return accepted
    began, state = monotonic(), accepted
    usual = _FIRST_SECONDS
    for number in range(1, MAX_POLLS + 1):
        wait = min(max(_retry_after(state, usual), LEAST_SECONDS), MOST_SECONDS)
        if monotonic() - began + wait > seconds:
            break
        await context.channel.progress(number, message=_told(state))
        await pause(wait)
        usual = min(usual * _GROWTH, _USUAL_SECONDS)
        state = await ask(target)
        if state.status[:3] in _ELSEWHERE:
            moved = _named_place(state, target, resolve)
            if moved is None:
                return state
            target = moved
        elif not _is_working(state):
            return state
        else:
            target = _named_place(state, target, resolve) or target
    return state


async def _becomes_task(context: CallContext) -> bool:
    """False also where there is no room for a task: the work has begun, and its caller must hear of it."""
    if context.channel is None:
        return False
    try:
        return await context.channel.begin_task()
    except (QuotaExceeded, Unavailable):
        return False


def _named_place(answer: RawAnswer, place: str, resolve: Resolve) -> str | None:
    headers = dict(answer.headers)
    named = next((headers[name] for name in _PLACES if name in headers), None)
    return None if named is None else resolve(place, named)


def _is_working(answer: RawAnswer) -> bool:
    if answer.status.startswith("202") or answer.status[:3] in _BUSY:
        return True
    if answer.is_error:
        return False
    content = _content(answer)
    return content.get("done") is False or _word(content) in _WORKING


def _told(answer: RawAnswer) -> str:
    return _word(_content(answer)) or answer.status


def _content(answer: RawAnswer) -> dict[str, Any]:
    if not answer.media_type.endswith("json") or len(answer.body) > 64 * 1024:
        return {}
    try:
        content = pydantic_core.from_json(answer.body)
    except ValueError:
        return {}
    return content if is_object(content) else {}


def _word(content: dict[str, Any]) -> str:
    """The word for the state, in lower case without separators; "" without one."""
    word = next((as_text(content[name]) for name in _STATES if name in content), "")
    return word.lower().replace("_", "").replace("-", "").replace(" ", "")[:40]


def _retry_after(answer: RawAnswer, usual: float) -> float:
    """Seconds by the header Retry-After (RFC 9110 section 10.2.3); `usual` without it, and where it is a date: that may
    be of another clock."""
    value = dict(answer.headers).get("Retry-After", "")
    return float(value[:6]) if value.isascii() and value.isdecimal() else usual
