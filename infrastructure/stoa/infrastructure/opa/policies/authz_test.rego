package stoa.authz_test

import data.stoa.authz

viewer := {"subject": "v", "tenant": "acme", "roles": ["viewer"], "scopes": ["stoa:read"], "roleScopes": ["stoa:read"]}

all_scopes := ["stoa:admin", "stoa:write", "stoa:read"]

admin := {"subject": "a", "tenant": null, "roles": ["cpi-admin"], "scopes": all_scopes, "roleScopes": all_scopes}

limited_devops := {
	"subject": "d", "tenant": "acme", "roles": ["devops"],
	"scopes": ["stoa:read"], "roleScopes": ["stoa:write", "stoa:read"],
}

tool(tenant, access) := {"kind": "tool", "name": "t", "tenant": tenant, "tags": [], "access": access}

ask(principal, tool) := decision if {
	decision := authz.decision with input as {"principal": principal, "tool": tool, "arguments": {}, "door": "mcp"}
}

test_a_scope_that_covers_the_tool_grants_access if {
	decision := ask(viewer, tool("acme", "stoa:read"))
	decision.allow
	decision.rules == ["scope-grants-access"]
}

test_a_global_tool_is_everybodys if ask(viewer, tool(null, "stoa:read")).allow

test_a_scope_that_is_missing_is_named if {
	decision := ask(limited_devops, tool("acme", "stoa:write"))
	not decision.allow
	decision.missing_scopes == ["stoa:write"]
	decision.reason == "needs scope stoa:write"
}

test_a_scope_that_no_role_gives_is_not_worth_asking_for if {
	decision := ask(viewer, tool("acme", "stoa:write"))
	not decision.allow
	decision.missing_scopes == []
	decision.reason == "needs scope stoa:write"
}

test_a_scope_does_not_make_a_platform_admin if {
	decision := ask(object.union(viewer, {"scopes": all_scopes}), tool("globex", "stoa:read"))
	decision.rules == ["tenant-isolation"]
}

test_an_admin_whose_token_is_limited_is_no_platform_admin if {
	limited := object.union(admin, {"scopes": ["stoa:read"]})
	ask(limited, tool("globex", "stoa:read")).rules == ["tenant-isolation"]
	ask(limited, tool(null, "stoa:read")).rules == ["scope-grants-access"]
	ask(limited, tool(null, "stoa:admin")).missing_scopes == ["stoa:admin"]
}

test_another_tenants_tool_is_denied_without_a_hint if {
	decision := ask(viewer, tool("globex", "stoa:read"))
	not decision.allow
	decision.rules == ["tenant-isolation"]
	decision.missing_scopes == []
}

test_a_caller_without_tenant_uses_no_tenants_tools if {
	not ask(object.union(viewer, {"tenant": null}), tool("acme", "stoa:read")).allow
}

test_a_platform_admin_may_everything if {
	ask(admin, tool("globex", "stoa:admin")).rules == ["platform-admin"]
}

test_what_is_missing_from_the_input_grants_nothing if {
	every junk in [{}, {"principal": {}}, {"principal": viewer}, {"tool": {}}, {"principal": viewer, "tool": {}}] {
		decision := authz.decision with input as junk
		not decision.allow
	}
}
