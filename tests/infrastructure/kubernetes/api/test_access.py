"""Where the API server is, and by which credentials it is asked."""

from pathlib import Path

import pytest
import yaml
from tests.infrastructure.http_client.tls_server import identity
from tests.kubernetes import kubeconfig

from stoa.infrastructure.kubernetes.api.access import kubeconfig_access, pod_access
from stoa.infrastructure.kubernetes.api.errors import ApiError

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """The files of a mounted service account."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_bytes(identity(tmp_path / "made", "localhost").authority.read_bytes())
    return tmp_path


async def test_access_of_a_pod_is_its_service_account(account):
    access = await pod_access(account, POD)
    assert access.url == "https://10.96.0.1:443"
    assert await access.authorization() == "Bearer first"
    assert len(access.context.get_ca_certs()) == 1


async def test_access_of_a_pod_brackets_an_ipv6_address(account):
    assert (await pod_access(account, {**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"})).url == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_access_without_a_file_of_the_account_names_it(account, missing):
    (account / missing).unlink()
    with pytest.raises(ApiError, match=missing):
        await pod_access(account, POD)


async def test_access_outside_a_pod_says_what_to_set(account):
    with pytest.raises(ApiError, match="KUBECONFIG_PATH"):
        await pod_access(account, {})


async def test_access_by_a_kubeconfig_is_its_current_context(tmp_path):
    access = await kubeconfig_access(kubeconfig(tmp_path, "http://127.0.0.1:1/"))
    assert access.url == "http://127.0.0.1:1"
    assert await access.authorization() == "Bearer secret"


async def test_access_by_an_exec_plugin_shows_its_token(tmp_path):
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    credential = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}'
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [credential]}
    content = yaml.safe_load(path.read_text())
    content["users"] = [{"name": "test", "user": {"exec": plugin}}]
    path.write_text(yaml.safe_dump(content))
    assert await (await kubeconfig_access(path)).authorization() == "Bearer t"


@pytest.mark.parametrize("text", ["", "a: [", "apiVersion: v1", "- one"])
async def test_access_by_what_is_no_kubeconfig_names_the_file(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ApiError, match="config"):
        await kubeconfig_access(path)
    with pytest.raises(ApiError, match="absent"):
        await kubeconfig_access(tmp_path / "absent")
