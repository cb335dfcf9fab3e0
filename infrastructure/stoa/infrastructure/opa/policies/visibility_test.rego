package stoa.visibility_test

import data.stoa.visibility

test_visible_are_the_positions_of_what_may_be_used if {
	principal := {"subject": "v", "tenant": "acme", "roles": ["viewer"], "scopes": ["stoa:read"]}
	tools := [
		{"name": "a", "tenant": "acme", "tags": [], "access": "stoa:read"},
		{"name": "b", "tenant": "globex", "tags": [], "access": "stoa:read"},
		{"name": "c", "tenant": null, "tags": [], "access": "stoa:write"},
		{"name": "d", "tenant": null, "tags": [], "access": "stoa:read"},
	]
	visibility.visible == [0, 3] with input as {"principal": principal, "door": "mcp", "tools": tools}
}
