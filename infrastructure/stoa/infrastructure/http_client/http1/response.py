"""A response that was received as a whole."""

from stoa.infrastructure.http_client.failures import ResponseTooLong


class Response:
    """`body` is as it was sent: content codings are not removed."""

    __slots__ = ("body", "fields", "headers", "reason", "status", "status_line")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: list[tuple[bytes, bytes]],
        fields: dict[bytes, bytes],
        body: bytes = b"",
    ) -> None:
        self.status = status
        self.reason = reason
        self.status_line = f"{status} {reason}" if reason else str(status)
        """`404 Not Found`, for people."""
        self.headers = headers
        """Header fields in the order of their lines, names in lower case; without trailers."""
        self.fields = fields
        """The first value of each field."""
        self.body = body

    def header(self, name: str) -> str | None:
        """The first value of a field."""
        value = self.fields.get(name.lower().encode("ascii"))
        return None if value is None else text_of(value)

    def values(self, name: str) -> list[str]:
        """All values of a field, one for each line."""
        wanted = name.lower().encode("ascii")
        return [text_of(value) for field, value in self.headers if field == wanted]


class StartOfResponse(ResponseTooLong):
    """The body has more bytes than the caller takes. `response` has as many of them as it takes."""

    def __init__(self, message: str, response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response


def text_of(value: bytes) -> str:
    """A field value as text: UTF-8, which servers send although RFC 9110 section 5.5 asks for ASCII."""
    return value.decode("utf-8", "surrogateescape")
