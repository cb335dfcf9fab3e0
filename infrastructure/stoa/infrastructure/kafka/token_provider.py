"""Access tokens for the brokers that metering events go to, by the client credentials grant (RFC 6749 section 4.4)."""

import time

from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.errors import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    KafkaConnectionError,
)

from stoa.application.ports.token_endpoint import TokenRequest
from stoa.domain.errors import StoaError
from stoa.infrastructure.http_client.token_endpoint import HttpTokenEndpoint

_UNKNOWN_LIFETIME_SECONDS = 60.0
"""For which a token is used whose server does not say how long it lives."""
_MARGIN_SECONDS = 10.0


class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]
    """The token for each connection that is opened: the last one, or another if that one is about to end."""

    def __init__(self, request: TokenRequest) -> None:
        super().__init__()
        self._request = request
        self._latest = ""
        self._until = 0.0

    async def token(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  # it says None, and means text
        """Raises KafkaConnectionError, which the client takes for a broker that is away and tries again; the endpoint
        logs the reason."""
        if time.monotonic() >= self._until:
            endpoint = HttpTokenEndpoint()  # closed at once: the next token is asked for in an hour or so
            try:
                granted = await endpoint.grant(self._request)
            except StoaError:
                raise KafkaConnectionError("no access token") from None
            finally:
                await endpoint.close()
            lifetime = granted.lifetime_seconds
            self._latest = granted.value
            self._until = time.monotonic() + (
                _UNKNOWN_LIFETIME_SECONDS if lifetime is None else lifetime - _MARGIN_SECONDS
            )
        return self._latest
