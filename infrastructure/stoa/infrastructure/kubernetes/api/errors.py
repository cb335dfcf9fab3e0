"""The errors of the API server, translated. They stay within this family: ports raise the domain's errors."""

from stoa.domain.schema.json_value import as_object

NO_ANSWER = 0
"""The status of an ApiError that no HTTP response caused."""
_SHOWN = 300
"""Upper bound on the characters of the server's own words in a message."""


class ApiError(Exception):
    """A request that the API server refused, or could not be asked. `status`: the HTTP status, or the code in an ERROR
    event of a watch; NO_ANSWER where there was no response."""

    def __init__(self, status: int, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_missing(self) -> bool:
        """True where there is no such object, or no such kind: its CRD is not installed."""
        return self.status == 404

    @property
    def is_forbidden(self) -> bool:
        return self.status == 403

    @property
    def is_conflict(self) -> bool:
        """True where the object changed, or exists, since it was read."""
        return self.status == 409

    @property
    def is_expired(self) -> bool:
        """True where the resourceVersion, or a list's continue token, is too old: list again."""
        return self.status == 410

    @property
    def is_invalid(self) -> bool:
        """True where the server does not understand a parameter, as an older one the streaming list."""
        return self.status in {400, 422}


def refused(status: int, body: object, *, retry_after_seconds: float = 0.0) -> ApiError:
    """The error that a Status object (or any other body, whose text may hold anything and is not shown) stands for."""
    content = as_object(body)
    message = content.get("message") if content.get("kind") == "Status" else None
    text = message[:_SHOWN] if isinstance(message, str) and message else "it gave no reason"
    return ApiError(status, f"the API server answered {status}: {text}", retry_after_seconds=retry_after_seconds)
