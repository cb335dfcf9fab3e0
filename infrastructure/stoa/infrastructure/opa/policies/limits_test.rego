package stoa.limits_test

import data.stoa.limits

caps := [
	{"roles": ["viewer"], "requestsPerMinute": 30, "burst": 5},
	{"tags": ["costly"], "requestsPerMinute": 6, "burst": 1},
]

obligations(roles, tags) := result if {
	result := limits.obligations with input as {"principal": {"roles": roles}, "tool": {"tags": tags}}
		with data.config.caps as caps
}

test_the_lowest_cap_that_matches_counts if {
	obligations(["viewer"], ["costly", "x"]).limit == {"requestsPerMinute": 6, "burst": 1}
}

test_a_cap_is_for_its_roles if {
	obligations(["viewer"], []).limit == {"requestsPerMinute": 30, "burst": 5}
	obligations(["devops"], []) == {}
}

test_without_caps_there_are_no_obligations if {
	limits.obligations == {} with input as {"principal": {"roles": ["viewer"]}, "tool": {"tags": []}}
}
