"""Manifests in a cluster, and what they name, as the catalogue of a gateway."""

import base64
import itertools

import pytest
from tests.infrastructure.kubernetes.gateways import PETS, gateway_on, tool, tool_set
from tests.kubernetes import ApiServer

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.kubernetes.manifests.tool_source import BURST_SECONDS, LONGEST_BURST_SECONDS
from stoa.infrastructure.kubernetes.watch_scope import WatchScope


@pytest.fixture
def server() -> ApiServer:
    server = ApiServer()
    for namespace in ("acme", "tenant-globex"):
        server.put("namespaces", {"metadata": {"name": namespace, "labels": {"team": namespace}}})
    return server


async def test_kubernetes_manifests_come_change_and_go_with_their_objects(tmp_path, server):
    server.put("tools", tool("ant"))
    async with gateway_on(tmp_path, server) as here:
        assert here.names("acme") == ["ant"]
        server.put("tools", tool("bee", "tenant-globex"))
        await here.until(lambda: here.names("globex") == ["bee"])
        server.put("tools", tool("ant", endpoint="ftp://wrong"))
        await here.until(lambda: any("spec.endpoint" in finding.message for finding in here.gateway.loader.findings))
        assert here.names("acme") == ["ant"], "the last good version stays in use"
        server.put("tools", tool("ant", description="mended"))
        await here.until(lambda: not here.gateway.loader.findings)
        server.delete("tools", "ant", namespace="acme")
        await here.until(lambda: here.names("acme") == [])


async def test_kubernetes_changes_that_go_on_are_given_together_for_longer(tmp_path, server):
    versions = itertools.count()

    def is_paused_for(seconds: float) -> bool:
        server.put("tools", tool("ant", description=str(next(versions))))
        return seconds in here.pauses

    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: is_paused_for(LONGEST_BURST_SECONDS))
        assert here.pauses.index(BURST_SECONDS) < here.pauses.index(LONGEST_BURST_SECONDS)


async def test_kubernetes_namespace_that_is_being_deleted_takes_its_tools_along(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("bee", "tenant-globex"))
    async with gateway_on(tmp_path, server) as here:
        assert here.names("acme") == ["ant"]
        server.mark_deleted("namespaces", "acme")
        await here.until(lambda: here.names("acme") == [])
        assert here.names("globex") == ["bee"]


async def test_kubernetes_manifest_that_finalizers_hold_back_is_gone(tmp_path, server):
    server.put("tools", tool("ant"))
    async with gateway_on(tmp_path, server) as here:
        server.mark_deleted("tools", "ant", namespace="acme")
        await here.until(lambda: here.names("acme") == [])


async def test_kubernetes_namespace_selector_chooses_the_tenants(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("bee", "tenant-globex"))
    async with gateway_on(tmp_path, server, scope=WatchScope(tenants="team=acme")) as here:
        assert (here.names("acme"), here.names("globex")) == (["ant"], [])
        server.put("namespaces", {"metadata": {"name": "tenant-globex", "labels": {"team": "acme"}}})
        await here.until(lambda: here.names("globex") == ["bee"])


async def test_kubernetes_namespace_selector_without_the_right_to_see_labels_chooses_none(tmp_path, server):
    server.put("tools", tool("ant"))
    server.refusals["namespaces"] = 403, "Forbidden"
    async with gateway_on(tmp_path, server, scope=WatchScope(tenants="team=acme")) as here:
        assert here.names("acme") == []
        assert any("namespaces" in finding for finding in here.source.health().findings)


async def test_kubernetes_namespaces_on_a_list_need_no_right_to_others(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("bee", "tenant-globex"))
    async with gateway_on(tmp_path, server, scope=WatchScope(namespaces=("tenant-globex",))) as here:
        assert (here.names("acme"), here.names("globex")) == ([], ["bee"])
        paths = {path for _, path in server.requests if "leases" not in path}
        assert all("/namespaces/tenant-globex/" in path for path in paths)


async def test_kubernetes_tenant_is_the_namespace_and_a_label_that_disagrees_an_error(tmp_path, server):
    planted = tool("ant")
    planted["metadata"]["labels"] = {"gostoa.dev/tenant": "globex"}
    server.put("tools", planted)
    async with gateway_on(tmp_path, server) as here:
        assert (here.names("acme"), here.names("globex")) == ([], [])
        (finding,) = here.gateway.loader.findings
        assert "the namespace decides" in finding.message


async def test_kubernetes_namespaces_that_would_be_one_tenant_are_told_apart(tmp_path, server):
    server.put("namespaces", {"metadata": {"name": "globex"}})
    server.put("tools", tool("bee", "tenant-globex"))
    async with gateway_on(tmp_path, server) as here:
        server.put("tools", tool("ant", "globex"))
        await here.until(lambda: bool(here.gateway.loader.findings))
        assert here.names("globex") == ["bee"]
        assert "would be one tenant" in here.gateway.loader.findings[0].message


async def test_kubernetes_namespace_with_the_prefix_twice_takes_no_tenants_place(tmp_path, server):
    server.put("namespaces", {"metadata": {"name": "tenant-tenant-globex"}})
    server.put("tools", tool("bee", "tenant-globex"))
    server.put("tools", tool("ant", "tenant-tenant-globex"))
    async with gateway_on(tmp_path, server) as here:
        assert here.gateway.loader.findings == ()
        assert (here.names("globex"), here.names("tenant-globex")) == (["bee"], ["ant"])


async def test_kubernetes_tenants_tags_lower_nothing(tmp_path, server):
    server.put("tools", tool("ant", method="DELETE", tags=["stoa:read"]))
    async with gateway_on(tmp_path, server) as here:
        (operation,) = (one for key, one in here.gateway.catalogue.tools.items() if key.tenant == "acme")
        assert operation.access.value == "stoa:admin"
        assert "cannot lower" in here.gateway.loader.findings[0].message


async def test_kubernetes_description_in_a_config_map_is_followed(tmp_path, server):
    server.put("configmaps", {"metadata": {"name": "apis", "namespace": "acme"}, "data": {"pets.yaml": PETS}})
    server.put("toolsets", tool_set("pets", openAPISpec={"configMapRef": {"name": "apis", "key": "pets.yaml"}}))
    async with gateway_on(tmp_path, server) as here:
        assert here.names("acme") == ["listPets"]
        changed = PETS.replace("listPets", "allPets")
        server.put("configmaps", {"metadata": {"name": "apis", "namespace": "acme"}, "data": {"pets.yaml": changed}})
        await here.until(lambda: here.names("acme") == ["allPets"])
        server.delete("configmaps", "apis", namespace="acme")
        await here.until(lambda: any("does not exist" in finding.message for finding in here.gateway.loader.findings))
        assert here.names("acme") == ["allPets"]
        server.delete("toolsets", "pets", namespace="acme")
        await here.until(lambda: here.names("acme") == [])


async def test_kubernetes_path_in_a_manifest_is_an_entry_of_a_config_map(tmp_path, server):
    schema = {"schema.graphql": "type Query { pet(id: ID!): String }", "pet.graphql": "query onePet { pet(id: 1) }"}
    server.put("configmaps", {"metadata": {"name": "shop", "namespace": "acme"}, "data": schema})
    source = {
        "url": "shop/schema.graphql",
        "endpoint": "https://shop.example/graphql",
        "operations": ["shop/pet.graphql"],
    }
    server.put("toolsets", tool_set("shop", graphQL=source))
    async with gateway_on(tmp_path, server) as here:
        assert here.gateway.loader.findings == ()
        assert here.names("acme") == ["onePet"]


@pytest.mark.parametrize(
    "location", ["configmap://tenant-globex/apis/pets.yaml", "../tenant-globex/apis/pets.yaml", "/etc/passwd", "apis"]
)
async def test_kubernetes_manifest_reaches_no_other_namespace_and_no_file(tmp_path, server, location):
    server.put("configmaps", {"metadata": {"name": "apis", "namespace": "tenant-globex"}, "data": {"pets.yaml": PETS}})
    server.put("toolsets", tool_set("pets", openAPISpec={"url": location}))
    async with gateway_on(tmp_path, server) as here:
        assert here.names("acme") == []
        assert "ConfigMap of this namespace" in here.gateway.loader.findings[0].message
        assert not any("configmaps" in path for _, path in server.requests)


async def test_kubernetes_secrets_are_those_that_manifests_name_in_their_own_namespace(tmp_path, server):
    for namespace, value in (("acme", "mine"), ("tenant-globex", "theirs")):
        data = {"token": base64.b64encode(f"{value}\n".encode()).decode()}
        server.put("secrets", {"metadata": {"name": "pets", "namespace": namespace}, "data": data})
        server.put("secrets", {"metadata": {"name": "other", "namespace": namespace}, "data": data})
    bearer = {"type": "bearer", "secretRef": {"name": "pets"}}
    server.put("tools", tool("ant", authentication=bearer))
    async with gateway_on(tmp_path, server, reads_secrets=True) as here:
        assert here.credentials is not None
        acme, globex, pets = TenantId("acme"), TenantId("globex"), SecretReference(name="pets")
        assert here.credentials.read(acme, pets, "token") == "mine"
        for tenant, reference in ((globex, pets), (acme, SecretReference(name="other")), (None, pets)):
            with pytest.raises(BackendUnavailable):
                here.credentials.read(tenant, reference, "token")
        server.put(
            "secrets",
            {"metadata": {"name": "pets", "namespace": "acme"}, "data": {"token": base64.b64encode(b"new").decode()}},
        )
        await here.until(lambda: here.credentials is not None and here.credentials.read(acme, pets, "token") == "new")
        assert not any("tenant-globex/secrets" in path for _, path in server.requests)


async def test_kubernetes_secrets_of_a_namespace_that_would_be_the_same_tenant_are_not_read(tmp_path, server):
    data = {"token": base64.b64encode(b"theirs").decode()}
    bearer = {"type": "bearer", "secretRef": {"name": "pets"}}
    server.put("namespaces", {"metadata": {"name": "globex"}})
    server.put("secrets", {"metadata": {"name": "pets", "namespace": "globex"}, "data": data})
    for namespace in ("globex", "tenant-globex"):
        server.put("tools", tool("ant", namespace, authentication=bearer))
    async with gateway_on(tmp_path, server, reads_secrets=True) as here:
        assert here.credentials is not None
        with pytest.raises(BackendUnavailable):
            here.credentials.read(TenantId("globex"), SecretReference(name="pets"), "token")


async def test_kubernetes_secrets_are_not_asked_for_unless_enabled(tmp_path, server):
    server.put("tools", tool("ant", authentication={"type": "bearer", "secretRef": {"name": "pets"}}))
    async with gateway_on(tmp_path, server) as here:
        assert here.names("acme") == ["ant"]
        assert not any("secrets" in path for _, path in server.requests)


async def test_kubernetes_api_server_that_is_away_leaves_calls_and_catalogue_alone(tmp_path, server):
    server.put("tools", tool("ant"))
    async with gateway_on(tmp_path, server) as here:
        server.refusals |= dict.fromkeys(("tools", "toolsets", "namespaces"), (503, "ServiceUnavailable"))
        server.break_watches()
        await here.until(lambda: len(here.source.health().findings) == 3)
        assert await here.call("ant") == "success"
        assert here.source.health().is_ready
        assert "may be out of date" in here.source.health().findings[0]
        server.delete("tools", "ant", namespace="acme")
        server.put("tools", tool("bee"))
        server.refusals.clear()
        await here.until(lambda: here.names("acme") == ["bee"])
        await here.until(lambda: not here.source.health().findings)


async def test_kubernetes_kind_whose_definition_is_missing_holds_up_no_other(tmp_path, server):
    server.put("tools", tool("ant"))
    server.refusals["prompts"] = 404, "NotFound"
    async with gateway_on(tmp_path, server) as here:
        assert here.names("acme") == ["ant"]
        assert any("prompts" in finding for finding in here.source.health().findings)
