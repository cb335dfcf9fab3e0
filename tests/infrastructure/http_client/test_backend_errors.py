"""Every error class of aiohttp has its place in the gateway's tree."""

import inspect
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError

from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.infrastructure.http_client.backend_errors import TRANSLATED, translated

EXPECTED = {
    BackendTimedOut: ["ServerTimeoutError", "ConnectionTimeoutError", "SocketTimeoutError"],
    BackendUnavailable: ["ClientConnectorDNSError", "ClientConnectorCertificateError", "ServerDisconnectedError"],
    BackendProtocolError: [
        "ClientPayloadError",
        "ClientResponseError",
        "TransferEncodingError",
        "ContentEncodingError",
    ],
}


def descendants(kind: type) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


ALL = sorted(
    {*descendants(aiohttp.ClientError), *descendants(HttpProcessingError)} - {aiohttp.ClientError},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_of_aiohttp_is_translated(kind):
    error = translated(kind.__new__(kind), "global/pets")

    assert issubclass(kind, TRANSLATED)
    assert error.message.startswith("The back end of global/pets failed: ")
    for expected, names in EXPECTED.items():
        if kind.__name__ in names:
            assert type(error) is expected


def test_the_names_expected_here_exist():
    assert {name for names in EXPECTED.values() for name in names} <= {kind.__name__ for kind in ALL}
    assert all(inspect.isclass(kind) for kind in ALL)
