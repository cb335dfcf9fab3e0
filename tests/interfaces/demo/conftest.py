import pytest
from quart.typing import TestClientProtocol as Client

from stoa.interfaces.demo import build_upstream


@pytest.fixture
def client() -> Client:
    """A fresh upstream, so that no test sees what another changed."""
    return build_upstream("the key").test_client()
