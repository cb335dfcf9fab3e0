"""Policy input and output as JSON documents, the same for an embedded policy and for a server, so that both decide
alike."""

from typing import Any

import pydantic_core
from pydantic import ValidationError

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.domain.access.identity import Principal, scopes_of
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import PolicyUnavailable
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool
from stoa.domain.policy.decision import NO_OBLIGATIONS, ClientRequestFacts, Decision, Door, Obligations, PolicyQuery
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

DECISION = "stoa/authz/decision"
VISIBLE = "stoa/visibility/visible"

_KEPT = 20_000


class PolicyAnswerInvalid(Exception):
    """The policy's output does not have the documented form. The text is for the log."""


class InputWriter:
    """Writes policy inputs. Parts known before the call (operation, principal) are written once and cached.

    `environment`: the deployment, `dev` or `prod`.
    """

    def __init__(self, environment: str) -> None:
        self._environment = pydantic_core.to_json({"name": environment})
        self._tools: BoundedCache[str, bytes] = BoundedCache(_KEPT)
        self._principals: BoundedCache[str, bytes] = BoundedCache(_KEPT)

    def question(self, query: PolicyQuery) -> bytes:
        """Input of `stoa.authz.decision`. Raises PolicyUnavailable for arguments that are not JSON."""
        try:
            arguments = pydantic_core.to_json(query.arguments, inf_nan_mode="null")
        except ValueError as caught:
            raise PolicyUnavailable("the arguments cannot be shown to the policy: they are not JSON") from caught
        requested = query.client_request
        client_request = (
            b"" if requested is None else b'"question":%b,' % pydantic_core.to_json(_client_request(requested))
        )
        return b'{"tool":%b,"arguments":%b,%b%b' % (
            self._tool(query.operation),
            arguments,
            client_request,
            self._caller(query.principal, query.door),
        )

    def listing(self, principal: Principal, tools: list[Operation], door: Door) -> bytes:
        """Input of `stoa.visibility.visible`."""
        return b'{"tools":[%b],%b' % (b",".join(map(self._tool, tools)), self._caller(principal, door))

    def _caller(self, principal: Principal, door: Door) -> bytes:
        return b'"principal":%b,"door":"%b","environment":%b}' % (
            self._principal(principal),
            door.encode("ascii"),
            self._environment,
        )

    def _principal(self, principal: Principal) -> bytes:
        written = self._principals.get(principal.authorization_key)
        if written is None:
            written = pydantic_core.to_json(
                {
                    "subject": principal.subject,
                    "tenant": principal.tenant,
                    "roles": sorted(principal.roles),
                    "scopes": sorted(principal.scopes),
                    "roleScopes": sorted(scopes_of(principal.roles)),
                    "client": principal.client,
                    "issuer": principal.issuer,
                }
            )
            self._principals.put(principal.authorization_key, written)
        return written

    def _tool(self, tool: Operation) -> bytes:
        written = self._tools.get(tool.fingerprint)
        if written is None:
            written = pydantic_core.to_json(_described(tool))
            self._tools.put(tool.fingerprint, written)
        return written


def _described(tool: Operation) -> JsonObject:
    hints = tool.hints if isinstance(tool, Tool) else None
    return {
        "kind": tool.kind,
        "name": tool.identifier,
        "tenant": tool.tenant,
        "tags": list(tool.tags),
        "category": tool.category,
        "version": tool.version,
        "access": tool.access.value,
        "methodAccess": tool.method_access.value,
        "premium": tool.is_premium,
        "api": None if tool.api is None else tool.api.name,
        "operationId": None if tool.api is None else tool.api.operation_id,
        "fingerprint": tool.fingerprint,
        "annotations": {}
        if hints is None
        else {
            "readOnlyHint": hints.read_only_hint,
            "destructiveHint": hints.destructive_hint,
            "idempotentHint": hints.idempotent_hint,
            "openWorldHint": hints.open_world_hint,
        },
    }


def _client_request(facts: ClientRequestFacts) -> JsonObject:
    return {
        "kind": facts.kind,
        "maxTokens": facts.max_tokens,
        "modelHints": list(facts.model_hints),
        "includeContext": facts.include_context,
        "tools": list(facts.tools),
        "mode": facts.mode,
        "urlHost": facts.url_host,
    }


def decision_of(value: Any) -> tuple[Decision, bool]:
    """The decision, and whether it holds for all arguments. Raises PolicyAnswerInvalid for anything but the form in
    docs/policy.md, because an output that is only partly understood could allow too much."""
    if value is None:
        raise PolicyAnswerInvalid(f"the policy leaves {DECISION} undefined")
    if not is_object(value) or not isinstance(value.get("allow"), bool):
        raise PolicyAnswerInvalid(f"{DECISION} must be an object with allow: true or false")
    is_allowed: bool = value["allow"]
    reason = value.get("reason", "")
    if not isinstance(reason, str):
        raise PolicyAnswerInvalid(f"{DECISION}: reason must be a string")
    decision = Decision(
        is_allowed=is_allowed,
        reason=reason or ("allowed" if is_allowed else "denied"),
        rules=_texts(value, "rules"),
        missing_scopes=frozenset(_texts(value, "missing_scopes")),
        max_tokens=_max_tokens(value.get("max_tokens")),
        obligations=_obligations(value.get("obligations", {})) if is_allowed else NO_OBLIGATIONS,
    )
    return decision, value.get("cacheable") is True


def positions_of(value: Any, count: int) -> frozenset[int]:
    """Positions of the visible ones among `count` tools. Raises PolicyAnswerInvalid."""
    if not is_array(value) or not all(isinstance(position, int) and 0 <= position < count for position in value):
        raise PolicyAnswerInvalid(f"{VISIBLE} must be a list of positions in input.tools")
    return frozenset(value)


def _texts(value: JsonObject, member: str) -> tuple[str, ...]:
    texts = value.get(member, [])
    if not is_array(texts) or not all(isinstance(text, str) for text in texts):
        raise PolicyAnswerInvalid(f"{DECISION}: {member} must be a list of strings")
    return tuple(texts)


def _max_tokens(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise PolicyAnswerInvalid(f"{DECISION}: max_tokens must be a whole number from 1")


def _obligations(value: Any) -> Obligations:
    """The obligations of a decision. Raises PolicyAnswerInvalid for an unknown one too: a call whose obligation cannot
    be fulfilled must not be allowed."""
    if not is_object(value) or value.keys() - {"redact", "limit", "confirm"}:
        raise PolicyAnswerInvalid(f"{DECISION}: obligations are redact, limit and confirm")
    if not value:
        return NO_OBLIGATIONS
    confirm = value.get("confirm")
    if confirm is not None and not isinstance(confirm, str):
        raise PolicyAnswerInvalid(f"{DECISION}: obligations.confirm must be a sentence")
    try:
        return Obligations(_texts(value, "redact"), _limit(value.get("limit")), confirm)
    except ValueError as caught:
        raise PolicyAnswerInvalid(f"{DECISION}: {caught}") from caught


def _limit(value: Any) -> RateLimit | None:
    if value is None:
        return None
    members = as_object(value)
    try:
        return RateLimit(requests_per_minute=members.get("requestsPerMinute", 0), burst=members.get("burst", 1))
    except ValidationError as caught:
        message = "obligations.limit needs requestsPerMinute and burst, whole numbers from 1"
        raise PolicyAnswerInvalid(f"{DECISION}: {message}") from caught
