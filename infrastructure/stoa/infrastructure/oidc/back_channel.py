"""The internal route to a provider whose public address this process cannot, or should not, use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackChannel:
    """Maps URLs below `public` to the same path below `internal`. Both are base URLs."""

    public: str
    internal: str

    def of(self, url: str) -> str:
        """The URL that reaches `url` from this process; a URL that is not below `public` is returned unchanged."""
        base = self.public.rstrip("/")
        rest = url.removeprefix(base)
        is_below = url.startswith(base) and (not rest or rest[0] in "/?#")
        return self.internal.rstrip("/") + rest if is_below else url
