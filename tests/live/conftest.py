"""One fixture per real server. Everything in this folder is marked `live`."""

from collections.abc import Iterator

import pytest
from tests.live.servers import Kafka, Keycloak, LiveServer, Opa, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "live" in item.path.parts:
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.timeout(400))  # Keycloak alone needs up to a minute on a busy machine


@pytest.fixture(scope="session")
def opa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(Opa, tmp_path_factory.mktemp("opa")) as server:
        yield server


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(Keycloak, tmp_path_factory.mktemp("keycloak")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(Kafka, tmp_path_factory.mktemp("kafka")) as server:
        yield server
