"""The demo's manifests are valid, and the upstream answers the Tools among them as they say."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from quart.typing import TestClientProtocol as Client

import stoa.interfaces.demo
from stoa.application.manifests.parse import ToolManifest, ToolSetManifest, parse_manifest
from stoa.interfaces.demo import UPSTREAM_PLACEHOLDER, write_catalogue

CATALOGUE = Path(stoa.interfaces.demo.__file__).parent / "catalogue"
MANIFESTS = [
    parse_manifest(content)
    for path in sorted(CATALOGUE.glob("*.yaml"))
    for content in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
TOOLS = {manifest.metadata.name: manifest for manifest in MANIFESTS if isinstance(manifest, ToolManifest)}


def examples(manifest: ToolManifest) -> dict[str, Any]:
    """The arguments that the input schema itself proposes."""
    assert manifest.spec.input_schema is not None
    return {name: schema["examples"][0] for name, schema in manifest.spec.input_schema["properties"].items()}


async def call(client: Client, manifest: ToolManifest, headers: dict[str, str]) -> Any:
    """Make the request that the manifest describes."""
    arguments = examples(manifest)
    path = manifest.spec.endpoint.removeprefix(UPSTREAM_PLACEHOLDER)
    in_path = {name for name in arguments if f"{{{name}}}" in path}
    rest = {name: value for name, value in arguments.items() if name not in in_path}
    sent = {"query_string": rest} if manifest.spec.method == "GET" else {"json": rest}
    path = path.format(**{name: arguments[name] for name in in_path})
    return await client.open(path, method=manifest.spec.method, headers=headers, **sent)


def test_each_team_owns_its_two_tools() -> None:
    assert {name: manifest.tenant for name, manifest in TOOLS.items()} == {
        "crm-search": "team-alpha",
        "billing-invoice": "team-alpha",
        "inventory-lookup": "team-beta",
        "notifications-send": "team-beta",
    }


def test_pet_store_belongs_to_everybody() -> None:
    [tool_set] = [manifest for manifest in MANIFESTS if isinstance(manifest, ToolSetManifest)]
    assert tool_set.tenant is None
    assert tool_set.conversion_options().base_url == f"{UPSTREAM_PLACEHOLDER}/petstore"


@pytest.mark.parametrize("name", TOOLS)
def test_example_arguments_fit_the_input_schema(name: str) -> None:
    jsonschema_rs.validator_for(TOOLS[name].spec.input_schema).validate(examples(TOOLS[name]))


@pytest.mark.parametrize("name", TOOLS)
async def test_upstream_answers_the_tool_as_its_output_schema_says(client: Client, name: str) -> None:
    manifest = TOOLS[name]
    response = await call(client, manifest, {manifest.spec.authentication.header_name: "the key"})
    assert response.status_code < 300
    jsonschema_rs.validator_for(manifest.spec.output_schema).validate(await response.get_json())


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "another key"}, {"X-API-Key": "ключ"}])
async def test_billing_refuses_a_call_without_its_key(client: Client, headers: dict[str, str]) -> None:
    response = await call(client, TOOLS["billing-invoice"], headers)
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"


async def test_customers_are_found_by_all_words(client: Client) -> None:
    found = await (await client.get("/crm/customers?q=WEBER+gmbh")).get_json()
    assert [customer["id"] for customer in found["customers"]] == ["CUS-1002"]


async def test_limit_shortens_the_list_and_not_the_total(client: Client) -> None:
    found = await (await client.get("/crm/customers?limit=3")).get_json()
    assert len(found["customers"]) == 3
    assert found["total"] == 8


async def test_unknown_article_is_not_found(client: Client) -> None:
    response = await client.get("/inventory/NONE")
    assert response.status_code == 404
    assert (await response.get_json(force=True))["detail"] == "No article has the SKU NONE"


async def test_invoice_to_an_unknown_customer_is_refused(client: Client) -> None:
    invoice = {"customerId": "CUS-0000", "amount": 1, "currency": "EUR"}
    response = await client.post("/billing/invoices", json=invoice, headers={"X-API-Key": "the key"})
    assert response.status_code == 422


def test_written_catalogue_names_the_running_upstream_everywhere(tmp_path: Path) -> None:
    write_catalogue(tmp_path, "http://127.0.0.1:8123/")
    texts = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert set(texts) == {"content.yaml", "tools.yaml", "petstore.yaml", "petstore.openapi.yaml", "reviews.yaml"}
    assert not any(UPSTREAM_PLACEHOLDER in text for text in texts.values())
    assert "endpoint: http://127.0.0.1:8123/crm/customers\n" in texts["tools.yaml"]
