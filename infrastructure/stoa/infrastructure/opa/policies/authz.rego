# METADATA
# scope: package
# title: Who may use what
# description: |
#   Input: principal {subject, tenant, roles, scopes, roleScopes, client, issuer}, tool {kind, name, tenant, tags, category, access,
#   annotations, ...}, arguments (absent when tools are listed), door, environment {name}.
#   `scopes` is what the roles give, limited by the token's scopes: a token never adds to it. `roleScopes` is what the
#   roles give, whatever the token: a scope that is missing is worth asking for when it is among them.
#   Without arguments the question is: may it be allowed for some arguments?
#   `cacheable` says that the answer depends on nothing but principal, tool, door and environment.
package stoa.authz

import data.stoa.limits

# METADATA
# title: The decision that the gateway asks for
# entrypoint: true
decision := {
	"allow": allow,
	"reason": reason,
	"rules": [rule],
	"missing_scopes": missing_scopes,
	"cacheable": true,
	"obligations": limits.obligations,
}

# The first that applies decides: a denial, then what grants access. Whatever is missing from the input grants nothing.
default rule := "default-deny"

rule := "tenant-isolation" if not is_own

else := "platform-admin" if is_platform_admin

else := "scope-grants-access" if input.tool.access in input.principal.scopes

is_platform_admin if {
	"cpi-admin" in input.principal.roles
	"stoa:admin" in input.principal.scopes
}

is_own if is_platform_admin

is_own if input.tool.tenant == null

is_own if input.tool.tenant == input.principal.tenant

allow if rule in {"platform-admin", "scope-grants-access"}

default allow := false

default missing_scopes := []

missing_scopes := [input.tool.access] if {
	rule == "default-deny"
	input.tool.access in input.principal.roleScopes
}

default reason := "no rule allows it"

reason := concat(" ", ["needs scope", input.tool.access]) if {
	rule == "default-deny"
	input.principal.scopes
}

reason := reasons[rule]

reasons := {
	"tenant-isolation": "the tool belongs to another tenant",
	"platform-admin": "platform administrator",
	"scope-grants-access": "the caller's scopes cover the tool",
}
