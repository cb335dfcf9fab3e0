"""The input that a policy is shown."""

import json

import pytest

from stoa.domain.access.identity import Principal
from stoa.domain.operations.tool import RestBinding, Tool, ToolAnnotations
from stoa.domain.policy.decision import PolicyQuery
from stoa.infrastructure.opa.documents import InputWriter


@pytest.mark.parametrize(
    ("tenant", "method", "access", "method_access", "read_only", "destructive"),
    [
        ("acme", "DELETE", "stoa:admin", "stoa:admin", False, True),
        ("acme", "POST", "stoa:write", "stoa:write", False, None),
        ("acme", "GET", "stoa:read", "stoa:read", True, False),
        (None, "DELETE", "stoa:read", "stoa:admin", True, False),
    ],
)
def test_a_policy_is_shown_what_the_method_needs_whatever_the_manifest_says(
    tenant, method, access, method_access, read_only, destructive
):
    binding = RestBinding(method=method, base_url="http://a.example", path="/")
    hints = ToolAnnotations(read_only_hint=True, destructive_hint=None if method == "POST" else False)
    tool = Tool(name="ant", tenant=tenant, binding=binding, annotations=hints, tags=("stoa:read",))
    writer = InputWriter("dev")
    query = PolicyQuery(Principal.of("ada", tenant="acme"), tool, {}, "mcp")
    shown = json.loads(writer.question(query))["tool"]
    assert (shown["access"], shown["methodAccess"]) == (access, method_access)
    assert (shown["annotations"]["readOnlyHint"], shown["annotations"]["destructiveHint"]) == (read_only, destructive)
    assert json.loads(writer.listing(query.principal, [tool], "mcp"))["tools"] == [shown]
