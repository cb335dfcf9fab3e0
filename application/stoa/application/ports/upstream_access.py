"""Access tokens for a back end of authentication type oauth2, which gets this with each call instead of secrets and of
the caller's token."""

from abc import abstractmethod
from typing import Protocol


class UpstreamAccess(Protocol):
    """The right to act at the back end of one call. Laws:

    - `token` yields the same token until that expires, is refused, or its client's secret changes.
    - It is never the caller's own token.
    - After `refused` answered True, `token` yields another one than was refused.
    - A repr shows none of it.
    """

    @abstractmethod
    async def token(self) -> str:
        """An access token that the back end should accept now. Raises what TokenEndpoint and CredentialSource raise."""
        ...

    @abstractmethod
    def refused(self, token: str) -> bool:
        """Report that the back end did not accept this token. False: a new one would fare no better."""
        ...
