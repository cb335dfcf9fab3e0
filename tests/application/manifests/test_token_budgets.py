"""`tokenBudget` of a Tool and of a ToolSet: what is shown shrinks, what is checked does not, and the report says so."""

import json
from typing import Any

import pytest
from tests.infrastructure.openapi.documents import api, operation

from stoa.application.gateway import Gateway
from stoa.application.manifests.parse import ManifestParts, ToolSetManifest
from stoa.application.manifests.understand import converted, understood
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.application.ports.conversion_report import ConversionReport
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding
from stoa.domain.operations.token_budget import TokenBudget, listed_text
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.openapi import OpenApiConverter
from stoa.infrastructure.openapi.spec_kind import OpenApiSpecKind
from stoa.infrastructure.rest.backend import RestBackend
from stoa.testing.token_counter import InMemoryTokenCounter

COUNTER = InMemoryTokenCounter()
WORDS = "The member says more about the order than its name does. " * 3


def body(members: int) -> Any:
    inner = {"type": "object", "properties": {f"in{n}": {"type": "string", "description": WORDS} for n in range(4)}}
    schema = {"type": "object", "properties": {f"m{n}": inner for n in range(members)}, "required": ["m0"]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


DOCUMENT = api(
    {
        "/small": {"post": operation(operationId="small", requestBody=body(1))},
        "/large": {"post": operation(operationId="large", requestBody=body(30))},
    }
)


def tool_set(**spec: Any) -> ToolSetManifest:
    content = {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "ToolSet",
        "metadata": {"name": "shop"},
        "spec": {"openAPISpec": {"url": "shop.json"}, **spec},
    }
    (manifest,) = understood(content, ManifestParts({}, {"openAPISpec": OpenApiSpecKind().manifest}))
    assert isinstance(manifest, ToolSetManifest)
    return manifest


def parts_of(manifest: ToolSetManifest) -> list[Any]:
    document = SpecDocument("https://shop.example/shop.json", json.dumps(DOCUMENT))
    return list(converted(OpenApiConverter(), document, manifest, COUNTER))


def tokens(tool: Tool) -> int:
    return COUNTER.count(listed_text(tool))


@pytest.mark.parametrize("budget", [{"perTool": 700}, {"total": 1_000}, {"perTool": 650, "total": 1_000}])
def test_token_budget_of_a_tool_set_is_met_and_reported(budget: dict[str, int]) -> None:
    whole = {each.name: each for each in parts_of(tool_set()) if isinstance(each, Tool)}
    parts = parts_of(tool_set(tokenBudget=budget))
    shown = {each.name: each for each in parts if isinstance(each, Tool)}
    assert shown["small"] == whole["small"]
    assert tokens(whole["large"]) > 1_000
    assert tokens(shown["large"]) <= budget.get("perTool", 1_000)
    assert sum(map(tokens, shown.values())) <= budget.get("total", 2_000)
    assert shown["large"].input_schema == whole["large"].input_schema
    assert shown["large"].fingerprint != whole["large"].fingerprint
    (report,) = [each for each in parts if isinstance(each, ConversionReport)]
    (finding,) = [finding for each in report.operations if each.tool == "large" for finding in each.findings]
    assert finding.message == (
        f"shown in {tokens(shown['large'])} tokens instead of {tokens(whole['large'])} (bytes/4), as spec.tokenBudget "
        "asks; arguments are checked against the whole schema"
    )
    assert not [each for each in parts if isinstance(each, Finding)]


def test_token_budget_that_cannot_be_met_is_a_warning_that_says_what_is_needed() -> None:
    parts = parts_of(tool_set(tokenBudget={"perTool": 10, "total": 20}))
    shown = [each for each in parts if isinstance(each, Tool)]
    need, needed = f"the largest needs {max(map(tokens, shown))}", sum(map(tokens, shown))
    messages = [each.message for each in parts if isinstance(each, Finding)]
    assert messages == [
        f"spec.tokenBudget: 10 tokens (bytes/4) are too few for the names and types of 2 tools: small, large; {need}",
        f"spec.tokenBudget: 2 tools need {needed} tokens (bytes/4) at least, more than 20; select fewer operations",
    ]


def a_tool(**spec: Any) -> dict[str, Any]:
    schema = body(30)["content"]["application/json"]["schema"]
    spec = {"endpoint": "https://a.example/x", "method": "POST", "inputSchema": schema, **spec}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": {"name": "a"}, "spec": spec}


def test_token_budget_of_a_tool_written_by_hand() -> None:
    (whole,) = understood(a_tool())
    (shown,) = understood(a_tool(tokenBudget=700), counter=COUNTER)
    assert isinstance(whole, Tool)
    assert isinstance(shown, Tool)
    assert tokens(shown) <= 700 < tokens(whole)
    assert shown.input_schema == whole.input_schema


def test_token_budget_without_a_counter_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidInput, match=r"^spec\.tokenBudget: counting tokens needs the extra `tokens` \(pip ins"):
        list(understood(a_tool(tokenBudget=700)))
    with pytest.raises(InvalidInput, match=r"^TOOL_TOKENS and CATALOGUE_TOKENS: counting tokens needs"):
        Gateway(token_budget=TokenBudget(total=700))


async def test_token_budget_of_the_catalogue_holds_for_the_list_of_each_tenant() -> None:
    gateway = Gateway(
        spec_kinds=[OpenApiSpecKind()],
        backends=[RestBackend(InMemoryCredentialSource())],
        tokens=COUNTER,
        token_budget=TokenBudget(per_tool=800, total=2_500),
    )
    for tenant in (None, "acme", "zeta"):
        options = ConversionOptions(base_url="https://shop.example", tenant=tenant, name_prefix=tenant or "")
        assert gateway.add_openapi(json.dumps(DOCUMENT), location="shop.json", options=options) == []
    by_tenant = {
        tenant: [each for each in gateway.catalogue.tools.values() if each.tenant in {None, tenant} and each.api]
        for tenant in ("acme", "zeta")
    }
    for seen in by_tenant.values():
        assert len(seen) == 4
        assert sum(map(tokens, seen)) <= 2_500
        assert max(map(tokens, seen)) <= 800
    caller = Principal.of("ada", roles=["cpi-admin"], tenant="acme")
    outcome = await gateway.invoke("large", {"m0": 7}, caller)
    assert outcome.error is not None
    assert outcome.error.code == "invalid_arguments"
    await gateway.close()
