"""The way to a provider whose public address this process cannot, or should not, use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackChannel:
    """Requests for what is below `public` go to the same path below `internal`. Both are base URLs."""

    public: str
    internal: str

    def of(self, url: str) -> str:
        """`url` as it is reached from here; a URL that is not below `public` stays as it is."""
        base = self.public.rstrip("/")
        rest = url.removeprefix(base)
        is_below = url.startswith(base) and (not rest or rest[0] in "/?#")
        return self.internal.rstrip("/") + rest if is_below else url
