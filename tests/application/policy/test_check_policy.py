"""The search for broken laws finds each kind of break, and nothing in policies that keep them."""

import itertools
import re

import pytest

from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.policy.check_policy import LAWS, CheckPolicy
from stoa.domain.errors import PolicyUnavailable
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.policy.decision import Decision
from stoa.infrastructure.opa.embedded import OpaWasmPolicyEngine


@pytest.mark.parametrize("make", [RulesPolicyEngine, OpaWasmPolicyEngine])
async def test_the_default_policy_keeps_all_laws(make):
    check = CheckPolicy(make())
    assert await check.execute() == {}
    assert check.asked > 1000


class Broken(RulesPolicyEngine):
    def __init__(self, law):
        super().__init__()
        self.law = law
        self.count = itertools.count()

    async def decide(self, query):
        decision = await super().decide(query)
        match self.law:
            case "answers" if query.arguments:
                raise PolicyUnavailable("no")
            case "repeats":
                return Decision(decision.is_allowed, str(next(self.count)))
            case "isolates" if query.door == "rest":
                return Decision(True, "the REST door is open", ("open",))
            case "grows" if "stoa:write" in query.principal.scopes and not query.principal.is_platform_admin:
                return Decision(False, "no writers", ("no-writers",))
            case "bounded" if "stoa:admin" in (query.principal.token_scopes or ()):
                return Decision(True, "it says so itself", ("step-up",))
            case "roles" if query.principal.tenant == query.operation.tenant is not None:
                return Decision(True, "everybody is a member", ("members",))
            case "helps" if not decision.is_allowed:
                return Decision(False, "needs luck", ("luck",), frozenset({"stoa:luck"}))
        return decision

    async def visible(self, principal, tools, door):
        return [] if self.law == "shows" else await super().visible(principal, tools, door)


SHOWN = {
    "answers": "no decision",
    "repeats": r"(allowed|denied) by no rule, then (allowed|denied) by no rule",
    "isolates": "allowed by open",
    "grows": r"allowed by \S+; with stoa:write denied by no-writers",
    "bounded": "allowed by step-up; by its roles alone denied by default-deny",
    "roles": "allowed by members; a stranger is denied by tenant-isolation",
    "helps": "denied by luck; with stoa:luck denied by luck",
    "shows": "allowed, but not listed",
}


@pytest.mark.parametrize("law", LAWS)
async def test_each_broken_law_is_found_with_a_case_that_shows_it(law):
    found = await CheckPolicy(Broken(law)).execute()
    assert re.fullmatch(SHOWN[law], found[law].found)


async def test_a_policy_that_breaks_every_law_is_asked_no_longer_than_that_takes():
    class Worst(RulesPolicyEngine):
        def __init__(self):
            super().__init__()
            self.count = itertools.count()

        async def decide(self, query):
            if query.arguments:
                raise PolicyUnavailable("no")
            if query.door == "rest" and "stoa:write" not in query.principal.scopes:
                is_open = query.principal.tenant is not None or query.principal.token_scopes is not None
                return Decision(is_open, str(next(self.count)), ("open",))
            return Decision(False, "needs luck", ("luck",), frozenset({"stoa:luck"}))

        async def visible(self, principal, tools, door):
            return []

    check, thorough = CheckPolicy(Worst()), CheckPolicy(Broken("shows"))
    assert set(await check.execute()) == set(LAWS)
    await thorough.execute()
    assert check.asked < thorough.asked / 2


async def test_a_policy_that_no_longer_answers_helps_nobody():
    class Once(RulesPolicyEngine):
        async def decide(self, query):
            if "stoa:admin" in query.principal.scopes:
                raise PolicyUnavailable("no")
            obtainable = frozenset({"stoa:admin"} if query.principal.roles == {"cpi-admin"} else ())
            return Decision(False, "for admins", ("admins",), obtainable)

    found = await CheckPolicy(Once()).execute()
    assert found["helps"].found == "denied by admins; with stoa:admin no decision"


async def test_the_tools_of_a_catalogue_can_be_asked_about_instead():
    rules = (*DEFAULT_RULES[1:], Rule("leak", "allow", lambda query: query.operation.identifier == "payroll", "leaks"))
    payroll = Tool(name="payroll", tenant="acme", binding=LocalBinding(function="f"))
    assert "isolates" in await CheckPolicy(RulesPolicyEngine(rules), [payroll]).execute()
    harmless = Tool(name="weather", binding=LocalBinding(function="f"))
    assert await CheckPolicy(RulesPolicyEngine(rules), [harmless]).execute() == {}
