"""References of manifests in a real cluster: secrets that are missing or forbidden, descriptions and their operations
in ConfigMaps. The status says what is wrong until it is mended."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc
from tests.e2e.manifests import tool
from tests.e2e.processes import Upstream, until
from tests.live.kubernetes.cluster import HERE, ApiServer
from tests.live.test_kubernetes import SOON, acmes, api_server, following, in_namespace, phase, upstream

__all__ = ["api_server", "upstream"]

_BEARER = {"authentication": {"type": "bearer", "secretRef": {"name": "key"}}}
_PROTO = """syntax = "proto3";
package shop;
service Items { rpc Get (Id) returns (Item); }
message Id { string id = 1; }
message Item { string name = 1; }
"""


@pytest.fixture
def secrets_role(api_server: ApiServer) -> Iterator[None]:
    api_server.kubectl("apply", "-f", str(HERE / "secrets.yaml"))
    yield
    api_server.kubectl("delete", "-f", str(HERE / "secrets.yaml"))


def error(server: ApiServer, kind: str, name: str) -> str:
    return str(server.show(kind, name).get("status", {}).get("lastError", ""))


@pytest.mark.usefixtures("secrets_role")
def test_references_to_a_missing_secret_are_in_the_status_until_it_is_there(
    api_server: ApiServer,
    tmp_path: Path,
    upstream: Upstream,
) -> None:
    with following(api_server, tmp_path, K8S_SECRETS_ENABLED="true") as gateway, acmes(gateway) as client:
        api_server.apply(in_namespace("tenant-acme", tool("keyed", f"{upstream.url}/keyed", **_BEARER)))
        until(lambda: phase(api_server, "tool", "keyed") == "Error", within=SOON)
        assert "spec.authentication.secretRef: The secret key (entry token)" in error(api_server, "tool", "keyed")
        table = api_server.kubectl("get", "tools,toolsets", "-A", "-o", "wide")
        assert "InvalidReference" in table
        assert "create the Secret" in table
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "tenant-acme"}}
        api_server.apply({**secret, "stringData": {"token": "s3cret"}})
        until(lambda: phase(api_server, "tool", "keyed") == "Registered", within=SOON)
        assert client.call("keyed")["structuredContent"] == {"ok": True}
        api_server.kubectl("delete", "tool/keyed", "secret/key", "-n", "tenant-acme")


def test_references_to_secrets_that_the_role_forbids_hold_up_no_other_manifest(
    api_server: ApiServer,
    tmp_path: Path,
    upstream: Upstream,
) -> None:
    with following(api_server, tmp_path, K8S_SECRETS_ENABLED="true") as gateway, acmes(gateway) as client:
        api_server.apply(
            in_namespace("tenant-acme", tool("keyed", f"{upstream.url}/keyed", **_BEARER)),
            in_namespace("tenant-acme", tool("open", f"{upstream.url}/open")),
        )
        until(lambda: "open" in client.names(), within=SOON)
        until(lambda: phase(api_server, "tool", "open") == "Registered", within=SOON)
        until(lambda: "403" in error(api_server, "tool", "keyed"), within=SOON)
        api_server.kubectl("delete", "tool", "keyed", "open", "-n", "tenant-acme")


def test_references_to_descriptor_sets_and_operations_in_config_maps_are_followed(
    api_server: ApiServer,
    tmp_path: Path,
    upstream: Upstream,
) -> None:
    (tmp_path / "items.proto").write_text(_PROTO)
    assert protoc.main(["", f"-I{tmp_path}", f"--descriptor_set_out={tmp_path}/items.binpb", "items.proto"]) == 0
    descriptors = base64.b64encode((tmp_path / "items.binpb").read_bytes()).decode()

    def files(operation: str) -> dict[str, Any]:
        metadata = {"name": "files", "namespace": "tenant-acme"}
        schema = "type Query { pet(id: ID!): String, pets: [String] }"
        data = {"shop.graphql": schema, "operations.graphql": operation, "items.proto": _PROTO}
        content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        return {**content, "binaryData": {"items.binpb": descriptors}}

    def tool_set(name: str, spec: dict[str, Any]) -> dict[str, Any]:
        content = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": name}, "spec": spec}
        return in_namespace("tenant-acme", content)

    target = "grpc://127.0.0.1:9"
    shop = {"url": "files/shop.graphql", "endpoint": upstream.url, "operations": ["files/operations.graphql"]}
    with following(api_server, tmp_path / "gateway") as gateway, acmes(gateway) as client:
        api_server.apply(
            files("query findPet($id: ID!) { pet(id: $id) }"),
            tool_set("items", {"grpc": {"target": target, "descriptorSet": "files/items.binpb"}}),
            tool_set(
                "texts", {"grpc": {"target": target, "protos": ["files/items.proto"]}, "naming": {"prefix": "t_"}}
            ),
            tool_set("shop", {"graphQL": shop}),
            tool_set("lost", {"graphQL": {**shop, "operations": ["files/lost.graphql"]}}),
        )
        until(lambda: client.names() == {"Items_Get", "t_Items_Get", "findPet"}, within=SOON)
        until(
            lambda: "has no entry lost.graphql; it has items.binpb" in error(api_server, "toolset", "lost"), within=SOON
        )
        api_server.apply(files("query listPets { pets }"))
        until(lambda: "listPets" in client.names() and "findPet" not in client.names(), within=SOON)
        api_server.kubectl("delete", "toolset", "items", "texts", "shop", "lost", "-n", "tenant-acme")
