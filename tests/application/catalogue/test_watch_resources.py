"""Who may watch a resource, and who is told that it changed: nobody who may not read it when there is news."""

import pytest

from stoa.application import Gateway, Principal
from stoa.application.catalogue.watch_resources import ResourceUpdate, Updates
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import ResourceNotFound
from stoa.domain.operations.operation import OperationKey

ACME, BETA = TenantId("acme"), TenantId("beta")
ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
BEA = Principal.of("bea", tenant="beta", roles=["viewer"])
ROOT = Principal.of("root", roles=["cpi-admin"])


class World:
    """Resources of everybody, of one tenant, and for admins; and whatever was told about them."""

    def __init__(self, **parts):
        self.gateway = Gateway(**parts)
        self.told: list[ResourceUpdate] = []
        self.watch = self.gateway.watch_resources
        self.gateway.resource("memo://all")(lambda: "x")
        self.gateway.resource("memo://acme/{n}", tenant="acme")(lambda n: n)
        self.gateway.resource("memo://admins", tags=["stoa:admin"])(lambda: "x")
        self.gateway.tool(lambda: 1, name="private", tenant="beta")
        self.gateway.tool(lambda: 1, name="public")
        self.watch.subscribe(self.told.append)

    def key(self, uri, tenant=None):
        return self.gateway.registry.catalogue.resolve(tenant, uri).key

    async def concerns(self, caller, uri, watched, *updates):
        return await self.watch.concerns(Updates(updates), caller, uri, watched, "mcp")


@pytest.mark.parametrize(
    ("caller", "tenant", "uri", "is_allowed"),
    [
        (ANN, None, "memo://all", True),
        (ANN, None, "memo://acme/1", True),
        (ANN, "acme", "memo://acme/1", True),
        (BEA, None, "memo://acme/1", False),
        (BEA, "acme", "memo://acme/1", False),
        (BEA, "acme", "memo://all", False),
        (ROOT, "acme", "memo://acme/1", True),
        (ROOT, None, "memo://acme/1", False),
        (ANN, None, "memo://none", False),
        (ANN, None, "memo://admins", False),
        (ROOT, None, "memo://admins", True),
        (ANN, None, "stoa://tools/public", True),
        (ANN, None, "stoa://tools/private", False),
        (ANN, None, "stoa://tools/none", False),
        (BEA, None, "stoa://tools/private", True),
    ],
)
async def test_only_what_the_caller_may_read_can_be_watched(caller, tenant, uri, is_allowed):
    world = World()
    watched = await world.watch.watchable(caller, tenant, uri, "mcp")
    assert watched == (world.key(uri, tenant or caller.tenant) if is_allowed else None)


async def test_an_update_concerns_those_who_watch_its_source_and_may_hear_of_it():
    world = World()
    every, acme = world.key("memo://all"), world.key("memo://acme/1", ACME)
    said = ResourceUpdate(frozenset({every}), "memo://all")
    assert await world.concerns(ANN, "memo://all", every, said)
    assert not await world.concerns(ANN, "memo://all", every)
    assert not await world.concerns(ANN, "memo://acme/1", acme, said)
    of_acme = ResourceUpdate(frozenset({every}), "memo://all", ACME)
    assert await world.concerns(ANN, "memo://all", every, of_acme)
    assert not await world.concerns(BEA, "memo://all", every, of_acme)
    assert not await world.concerns(BEA, "memo://acme/1", acme, ResourceUpdate(frozenset({acme})))
    assert not await world.concerns(ANN, "memo://gone", every, ResourceUpdate(frozenset({every})))
    other = ResourceUpdate(frozenset({OperationKey(None, "other", "tool")}))
    assert not await world.concerns(ANN, "memo://all", every, other)


async def test_who_acts_for_a_tenant_hears_of_what_is_that_tenants():
    world = World()
    watched = world.key("memo://acme/1", ACME)
    update = ResourceUpdate(frozenset({watched}), "memo://acme/1", ACME)
    for caller in (ANN, ROOT):
        assert await world.concerns(caller, "memo://acme/1", watched, update)
    assert not await world.concerns(BEA, "memo://acme/1", watched, update)


async def test_who_may_no_longer_read_it_is_not_told():
    is_open = [True]
    closing = Rule("closed", "deny", lambda query: query.operation.kind == "resource" and not is_open[0], "closed")
    world = World(policy=RulesPolicyEngine([*DEFAULT_RULES, closing]))
    every = world.key("memo://all")
    update = ResourceUpdate(frozenset({every}))
    assert await world.concerns(ANN, "memo://all", every, update)
    is_open[0] = False
    assert not await world.concerns(ANN, "memo://all", every, update)
    assert await world.watch.watchable(ANN, None, "memo://all", "mcp") is None


async def test_the_policy_sees_the_door_that_is_watched_through():
    mcp_only = Rule("mcp-only", "deny", lambda query: query.door != "mcp", "only through mcp")
    world = World(policy=RulesPolicyEngine([*DEFAULT_RULES, mcp_only]))
    every = world.key("memo://all")
    assert await world.watch.watchable(ANN, None, "memo://all", "mcp") == every
    assert await world.watch.watchable(ANN, None, "memo://all", "rest") is None


async def test_a_page_about_a_tool_changes_with_the_tool_for_those_who_see_it():
    world = World()
    page, tool = world.key("stoa://tools/private"), OperationKey(BETA, "private", "tool")
    update = ResourceUpdate(frozenset({tool}))
    assert await world.concerns(BEA, "stoa://tools/private", page, update)
    assert not await world.concerns(ANN, "stoa://tools/private", page, update)
    assert not await world.concerns(BEA, "stoa://tools/public", page, update)


def test_what_a_program_says_of_nothing_is_refused_and_told_to_nobody():
    world = World()
    for uri, tenant in (("memo://none", None), ("memo://acme/1", None), ("memo://acme/1", "beta")):
        with pytest.raises(ResourceNotFound):
            world.gateway.resource_updated(uri, tenant=tenant)
    assert world.told == []
    world.gateway.resource_updated("memo://acme/1", tenant="acme")
    world.gateway.resource_updated("memo://all")
    assert [(update.uri, update.audience, update.is_announced) for update in world.told] == [
        ("memo://acme/1", "acme", True),
        ("memo://all", None, True),
    ]


def test_changes_of_the_catalogue_are_told_of_and_are_no_announcements():
    world = World()
    world.gateway.tool(lambda: 1, name="later")
    world.gateway.prompt(lambda: "x", name="prompt")
    assert [(update.sources, update.is_announced) for update in world.told] == [
        (frozenset({OperationKey(None, "later", "tool")}), False),
        (frozenset(), False),
    ]
