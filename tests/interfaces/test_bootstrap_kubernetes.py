"""The parts that K8S_WATCHER_ENABLED adds, as the settings ask for them."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.infrastructure.kubernetes.gateways import PETS, tool, tool_set
from tests.kubernetes import ApiServer, kubeconfig, serving

from stoa.application.gateway import Gateway
from stoa.application.ports.credential_source import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.interfaces.bootstrap import build_container
from stoa.interfaces.bootstrap.parts import KubernetesPart
from stoa.interfaces.bootstrap.served_spec import ServedSpecProvider, served_spec
from stoa.interfaces.settings import Settings


def settings_of(folder: Path, url: str, **settings: object) -> Settings:
    path = kubeconfig(folder, url)
    return Settings(data_dir=folder, k8s_watcher_enabled=True, kubeconfig_path=path, **settings)  # type: ignore[arg-type]


async def test_kubernetes_part_gives_the_gateway_its_manifests_and_descriptions(tmp_path):
    server = ApiServer()
    server.put("namespaces", {"metadata": {"name": "tenant-acme"}})
    server.put("configmaps", {"metadata": {"name": "apis", "namespace": "tenant-acme"}, "data": {"pets": PETS}})
    server.put("tools", tool("ant", "tenant-acme"))
    source = {"configMapRef": {"name": "apis", "key": "pets"}}
    server.put("toolsets", tool_set("pets", "tenant-acme", openAPISpec=source))
    async with serving(server) as url:
        container = build_container(settings_of(tmp_path, url))
        gateway = await container.get(Gateway)
        assert await gateway.loader.execute() == ()
        names = {key.name for key in gateway.catalogue.tools if key.tenant == "acme"}
        assert names == {"ant", "listPets"}
        part = await container.get(KubernetesPart)
        assert {probe.name for probe in part.probes} == {"kubernetes", "kubernetes status"}
        assert set(part.background) == {"kubernetes lease", "kubernetes status"}
        await container.close()


async def test_kubernetes_manifests_are_served_beside_a_description_of_the_command_line(tmp_path):
    server = ApiServer()
    server.put("namespaces", {"metadata": {"name": "tenant-acme"}})
    server.put("tools", tool("ant", "tenant-acme"))
    document = tmp_path / "pets.yaml"
    document.write_text(PETS, encoding="utf-8")
    async with serving(server) as url:
        settings = settings_of(tmp_path, url)
        spec = await served_spec(settings, str(document))
        container = build_container(settings, ServedSpecProvider(spec.for_serving()))
        gateway = await container.get(Gateway)
        await gateway.loader.execute()
        assert {(key.tenant, key.name) for key in gateway.catalogue.tools} == {("acme", "ant"), (None, "listPets")}
        await container.close()


async def test_kubernetes_secrets_stand_before_those_of_the_process(tmp_path):
    server = ApiServer()
    bearer = {"type": "bearer", "secretRef": {"name": "pets"}}
    server.put("tools", tool("ant", "tenant-acme", authentication=bearer))
    async with serving(server) as url:
        settings = settings_of(tmp_path, url, k8s_secrets_enabled=True, k8s_watch_namespace="tenant-acme")
        container = build_container(settings)
        gateway, credentials = await container.get(Gateway), await container.get(CredentialSource)
        await gateway.loader.execute()
        with pytest.raises(BackendUnavailable, match=r"create the Secret .* or set the environment variable"):
            credentials.read(TenantId("acme"), SecretReference(name="pets"), "token")
        await container.close()


async def test_kubernetes_is_not_asked_unless_it_is_enabled(tmp_path):
    container = build_container(Settings(data_dir=tmp_path))
    part = await container.get(KubernetesPart)
    assert part == KubernetesPart()
    await container.close()


@pytest.mark.parametrize("namespace", ["a/b", "../x", "A", "a_b", "-a"])
def test_kubernetes_namespaces_of_the_setting_are_names(namespace):
    with pytest.raises(ValidationError):
        Settings(k8s_watch_namespace=namespace)  # type: ignore[arg-type]


async def test_kubernetes_secret_that_is_not_read_for_want_of_the_setting_says_which(tmp_path):
    server = ApiServer()
    server.put("namespaces", {"metadata": {"name": "tenant-acme"}})
    reference = {"type": "bearer", "secretRef": {"name": "pets"}}
    server.put("tools", tool("ant", "tenant-acme", authentication=reference))
    async with serving(server) as url:
        container = build_container(settings_of(tmp_path, url))
        gateway = await container.get(Gateway)
        (finding,) = await gateway.loader.execute()
        assert "variable STOA_SECRET__ACME__PETS__TOKEN, or set K8S_SECRETS_ENABLED" in finding.message
        await container.close()
