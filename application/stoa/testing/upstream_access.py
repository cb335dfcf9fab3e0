"""Access tokens that the embedding program, or a test, hands out itself."""

from collections.abc import Iterable

from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.errors import BackendUnavailable


class InMemoryUpstreamAccess(UpstreamAccess):
    """Yields `tokens` one after the other, the next when the one before was refused."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._left = list(tokens)

    async def token(self) -> str:
        if not self._left:
            raise BackendUnavailable("There is no access token for the back end")
        return self._left[0]

    def refused(self, token: str) -> bool:
        if self._left[:1] == [token]:
            if len(self._left) == 1:
                return False
            del self._left[0]
        return bool(self._left)
