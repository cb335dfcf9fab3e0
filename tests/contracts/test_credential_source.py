"""The laws of CredentialSource, for every adapter."""

import base64
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.files.credentials import (
    ChainedCredentialSource,
    EnvironmentCredentialSource,
    FileCredentialSource,
)
from stoa.infrastructure.files.credentials.environment import variable_name
from stoa.infrastructure.kubernetes.api import Cluster, KubernetesConnection, NamedObjects
from stoa.infrastructure.kubernetes.api.objects import ApiObject, Key
from stoa.infrastructure.kubernetes.manifests import KubernetesCredentialSource

Owner = TenantId | None


@dataclass
class Store:
    source: CredentialSource
    put: Callable[[Owner, str, str, str], bool]
    """Store one entry of a secret; False when this kind of store cannot hold it."""


OpenStore = Callable[[], AbstractContextManager[Store]]


@contextmanager
def _memory() -> Iterator[Store]:
    source = InMemoryCredentialSource()
    entries: dict[tuple[Owner, str], dict[str, str]] = {}

    def put(tenant: Owner, name: str, key: str, value: str) -> bool:
        entries.setdefault((tenant, name), {})[key] = value
        source.put(tenant, name, entries[tenant, name])
        return True

    yield Store(source, put)


@contextmanager
def _environment() -> Iterator[Store]:
    environ: dict[str, str] = {}

    def put(tenant: Owner, name: str, key: str, value: str) -> bool:
        variable = variable_name(tenant, name, key)
        if variable is not None:
            environ[variable] = value
        return variable is not None

    yield Store(EnvironmentCredentialSource(environ), put)


@contextmanager
def _files() -> Iterator[Store]:
    with TemporaryDirectory() as directory:

        def put(tenant: Owner, name: str, key: str, value: str) -> bool:
            if key in {".", ".."} or key.startswith("..") or len(key) > 200 or len(name) > 200:
                return False
            folder = Path(directory, tenant or "_global", name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(value.encode())
            return True

        yield Store(FileCredentialSource(Path(directory)), put)


@contextmanager
def _chained() -> Iterator[Store]:
    with _environment() as first, _memory() as second:
        yield Store(ChainedCredentialSource([first.source, second.source]), second.put)


class _Secrets(NamedObjects):
    """Secrets as if they were followed."""

    def __init__(self) -> None:
        cluster = Cluster(KubernetesConnection(), clock=SystemClock(), executor=InThreadExecutor())
        super().__init__(cluster, "secrets")
        self.objects: dict[Key, ApiObject] = {}

    def get(self, key: Key) -> ApiObject | None:
        return self.objects.get(key)


@contextmanager
def _cluster() -> Iterator[Store]:
    secrets = _Secrets()
    entries: dict[Key, dict[str, str]] = {}

    def put(tenant: Owner, name: str, key: str, value: str) -> bool:
        if tenant is None:
            return False
        place = (f"tenant-{tenant}", name)
        entries.setdefault(place, {})[key] = base64.b64encode(value.encode()).decode()
        secrets.objects[place] = ApiObject(place, "", "", 1, is_leaving=False, content={"data": entries[place]})
        return True

    yield Store(KubernetesCredentialSource(secrets), put)


ADAPTERS = [_memory, _environment, _files, _chained, _cluster]


@pytest.fixture(scope="session", params=ADAPTERS, ids=lambda adapter: adapter.__name__)
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return request.param


tenants = st.none() | st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True).map(TenantId)
names = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,6}[A-Za-z0-9])?", fullmatch=True)
keys = st.from_regex(r"[-A-Za-z0-9_.]{1,8}", fullmatch=True)
confusing = st.sampled_from(["a", "a-b", "a--b", "global", "b", "x"])


def found(source: CredentialSource, tenant: Owner, name: str, key: str) -> str | None:
    try:
        return source.read(tenant, SecretReference(name=name, key=key), "unused")
    except BackendUnavailable:
        return None


@given(
    tenants | confusing.map(TenantId),
    tenants | confusing.map(TenantId),
    names | st.sampled_from(["b", "a", "b__a", "b-_a"]),
    names | st.sampled_from(["b", "a", "b__a", "b-_a"]),
    keys | st.sampled_from(["a", "__a", "b__a", "..", "."]),
    keys | st.sampled_from(["a", "__a", "b__a", "..", "../a"]),
)
def test_no_reference_of_one_tenant_reaches_the_secret_of_another(open_store, one, other, name, its_name, key, its_key):
    assume(one != other)
    try:
        SecretReference(name=its_name, key=its_key)
    except ValidationError:
        return
    with open_store() as store:
        store.put(one, name, key, "mine")

        assert found(store.source, other, its_name, its_key) is None


@given(tenants, names, keys, st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20))
def test_what_was_stored_is_read_again_and_a_change_is_seen_at_once(open_store, tenant, name, key, value):
    with open_store() as store:
        assume(store.put(tenant, name, key, value))
        assert found(store.source, tenant, name, key) == value

        store.put(tenant, name, key, value[::-1])
        assert found(store.source, tenant, name, key) == value[::-1]


def test_without_a_key_the_entry_that_the_caller_expects_is_read(open_store):
    with open_store() as store:
        store.put(TenantId("acme"), "pets", "token", "t")
        store.put(TenantId("acme"), "pets", "other", "o")

        assert store.source.read(TenantId("acme"), SecretReference(name="pets"), "token") == "t"
        assert store.source.read(TenantId("acme"), SecretReference(name="pets", key="other"), "token") == "o"


@pytest.mark.parametrize("tenant", [None, TenantId("acme")])
def test_an_absent_secret_is_named_and_no_value_shown(open_store, tenant):
    with open_store() as store:
        store.put(tenant, "pets", "password", "s3cret")

        with pytest.raises(BackendUnavailable) as caught:
            store.source.read(tenant, SecretReference(name="pets"), "token")

        shown = "".join(traceback.format_exception(caught.value)) + repr(store.source)
        assert "s3cret" not in shown
        for part in ("pets", "token", tenant or "global"):
            assert part in caught.value.message
