"""Reasons for refusing a request, as one closed list for metrics and logs.

A reason is a label of a metric, so the list is closed: nothing that a caller sends adds to it. The module imports the
standard library alone, because the first output of `stoa stdio` waits for it.
"""

from enum import StrEnum


class RefusalReason(StrEnum):
    """Stable, machine-readable reasons. An error of the domain has its `code` as reason, unless it names another."""

    # Tokens
    MISSING_TOKEN = "missing_token"  # noqa: S105
    MALFORMED_TOKEN = "malformed_token"  # noqa: S105
    """Not a signed JWT, or one with a header or claim that cannot be understood."""
    OVERSIZED_TOKEN = "oversized_token"  # noqa: S105
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    NOT_ACCESS_TOKEN = "not_access_token"  # noqa: S105
    WRONG_ISSUER = "wrong_issuer"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    NOT_AUTHENTICATED = "not_authenticated"
    """Rejected by a verifier that gives no further reason."""

    # Rights
    MISSING_SCOPE = "missing_scope"
    NOT_PERMITTED = "not_permitted"
    QUESTION_REFUSED = "question_refused"
    UPSTREAM_ACCESS_DENIED = "upstream_access_denied"

    # Limits
    RATE_LIMITED = "rate_limited"
    STRANGER_LIMIT = "stranger_limit"
    STREAM_LIMIT = "stream_limit"
    BUDGET_EXHAUSTED = "budget_exhausted"
    SESSIONS_FULL = "sessions_full"
    BODIES_FULL = "bodies_full"

    # What the HTTP door refuses
    HOST = "host"
    ORIGIN = "origin"
    PATH = "path"
    METHOD = "method"
    MEDIA_TYPE = "media_type"
    UNSUPPORTED_CODING = "unsupported_coding"
    NOT_ACCEPTABLE = "not_acceptable"
    TOO_LARGE = "too_large"
    BODY_TOO_LARGE = "body_too_large"
    BAD_REQUEST = "bad_request"
    SHUTTING_DOWN = "shutting_down"

    # What the server refuses before any door sees it
    CONNECTIONS = "connections"
    CONNECTIONS_PER_ADDRESS = "connections_per_address"
    DESCRIPTORS = "descriptors"
    FRAMING = "framing"
    HEAD_SIZE = "head_size"
    HEAD_DEADLINE = "head_deadline"
    BODY_DEADLINE = "body_deadline"
    WRITE_DEADLINE = "write_deadline"
    UNREAD_BYTES = "unread_bytes"

    # What the MCP door refuses
    BAD_MESSAGE = "bad_message"
    UNKNOWN_METHOD = "unknown_method"
    UNKNOWN_SESSION = "unknown_session"
    UNSUPPORTED_VERSION = "unsupported_version"
    HEADER_MISMATCH = "header_mismatch"

    # What a request asks for
    INVALID_INPUT = "invalid_input"
    INVALID_ARGUMENTS = "invalid_arguments"
    INVALID_REQUEST_STATE = "invalid_request_state"
    TOOL_NOT_FOUND = "tool_not_found"
    RESOURCE_NOT_FOUND = "resource_not_found"
    PROMPT_NOT_FOUND = "prompt_not_found"
    TASK_NOT_FOUND = "task_not_found"
    TASK_CHANGED = "task_changed"
    CLIENT_CANNOT = "client_cannot"
    CLIENT_REFUSED = "client_refused"

    # What a call depends on
    UNAVAILABLE = "unavailable"
    SHARED_STATE_UNAVAILABLE = "shared_state_unavailable"
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    POLICY_UNAVAILABLE = "policy_unavailable"
    LIMITER_UNAVAILABLE = "limiter_unavailable"
    BUDGET_UNAVAILABLE = "budget_unavailable"
    METERING_UNAVAILABLE = "metering_unavailable"
    PUBLISHER_UNAVAILABLE = "publisher_unavailable"
    TASKS_UNAVAILABLE = "tasks_unavailable"
    TASK_INTERRUPTED = "task_interrupted"
    BACKEND_UNAVAILABLE = "backend_unavailable"
    BACKEND_TIMEOUT = "backend_timeout"
    BACKEND_PROTOCOL_ERROR = "backend_protocol_error"
    RESOURCE_UNREADABLE = "resource_unreadable"
    CONTENT_UNAVAILABLE = "content_unavailable"
    INTERNAL = "internal"
