"""Catalogues: views per tenant, no shadowing, diffs that lead from one snapshot to the next."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import catalogues, few_names, few_tenants, few_uris, operations, tools

from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Severity
from stoa.domain.operations.catalogue import Catalogue, CatalogueDiff
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding, Tool, ToolKey
from stoa.domain.origin import NamedOrigin

tool_lists = st.lists(operations(), max_size=12)
kinds = st.sampled_from(["tool", "resource", "prompt"])


@given(catalogues(), catalogues())
def test_a_diff_applied_to_the_old_catalogue_gives_the_new_one(old, new):
    diff = old.diff(new)
    assert old.apply(diff) == new
    assert bool(diff) == (old != new)
    assert not set(diff.removed) & {tool.key for tool in (*diff.added, *diff.changed)}


@given(tool_lists)
def test_building_is_deterministic(found):
    assert Catalogue.build(found) == Catalogue.build(list(found))


@given(tool_lists)
def test_every_enabled_tool_is_in_or_has_a_finding(found):
    catalogue, findings = Catalogue.build(found)
    enabled = [tool for tool in found if tool.enabled]
    told = {finding.where for finding in findings}
    assert all(one in catalogue.operations.values() or str(one.key) in told for one in enabled)
    assert all(one.enabled for one in catalogue.operations.values())
    left_out = {finding.where for finding in findings}
    assert left_out <= {str(tool.key) for tool in enabled}
    assert all(finding.severity is Severity.ERROR for finding in findings)


@given(tool_lists)
def test_finding_has_the_origin_of_the_very_operation_that_it_is_about(found):
    origins = {id(one): NamedOrigin(str(number)) for number, one in enumerate(found)}
    catalogue, findings = Catalogue.build(found, lambda one: origins[id(one)])
    used = {id(one) for one in catalogue.operations.values()}
    left_out = {origins[id(one)] for one in found if one.enabled and id(one) not in used}
    about = {finding.origin: finding for finding in findings}
    assert left_out <= about.keys()
    for origin, finding in about.items():
        one = found[int(origin.name)]
        assert finding.where == str(one.key)
        assert (id(one) in used) == finding.message.startswith("is not visible to")


distinct = st.lists(operations(), max_size=12, unique_by=lambda one: (one.key, one.is_by_tenant))


@given(distinct, st.randoms(use_true_random=False))
def test_the_catalogue_does_not_depend_on_the_order_in_which_operations_arrive(found, random_order: random.Random):
    shuffled = list(found)
    random_order.shuffle(shuffled)
    (one, told), (other, told_again) = Catalogue.build(found), Catalogue.build(shuffled)
    assert one == other
    assert sorted(map(str, told)) == sorted(map(str, told_again))
    for tenant in {key.tenant for key in one.operations}:
        for kind in ("tool", "resource", "prompt"):
            assert [each.key for each in one.view(tenant, kind)] == [each.key for each in other.view(tenant, kind)]


@given(distinct, few_tenants, few_names | few_uris | st.sampled_from(["memo://dog", "memo://dog/legs"]), kinds)
def test_a_catalogue_author_of_a_tenant_displaces_nothing_of_the_platform(found, tenant, name, kind):
    """Taking away all that tenants' teams wrote changes nothing that the platform's names lead to."""
    with_teams, _ = Catalogue.build(found)
    of_platform, _ = Catalogue.build([one for one in found if not one.is_by_tenant])
    before = of_platform.resolve(tenant, name) if kind == "resource" else of_platform.find(tenant, name, kind)
    after = with_teams.resolve(tenant, name) if kind == "resource" else with_teams.find(tenant, name, kind)
    assert before is None or after == before


@given(distinct, few_tenants, few_names | few_uris | st.sampled_from(["memo://dog", "memo://dog/legs"]), kinds)
def test_a_global_operation_displaces_nothing_that_the_platform_made_for_a_tenant(found, tenant, name, kind):
    everything, _ = Catalogue.build(found)
    own, _ = Catalogue.build([one for one in found if one.tenant == tenant and not one.is_by_tenant])
    before = own.resolve(tenant, name) if kind == "resource" else own.find(tenant, name, kind)
    after = everything.resolve(tenant, name) if kind == "resource" else everything.find(tenant, name, kind)
    assert before is None or after == before


@given(catalogues(), st.none() | few_tenants, few_names | few_uris, kinds)
def test_find_and_view_agree(catalogue, tenant, name, kind):
    view = catalogue.view(tenant, kind)
    assert [one.identifier for one in view] == sorted({one.identifier for one in view})
    assert catalogue.find(tenant, name, kind) == next((one for one in view if one.identifier == name), None)


@given(catalogues(), st.none() | few_tenants | st.just(TenantId("stranger")), kinds)
def test_a_view_holds_what_is_global_and_the_tenants_own_of_its_kind_and_nothing_else(catalogue, tenant, kind):
    seen = {key for key in catalogue.operations if key.kind == kind and key.tenant in {None, tenant}}
    view = {one.key for one in catalogue.view(tenant, kind)}
    assert view <= seen
    assert {key for key in seen if key.tenant == tenant} <= view
    own = [one for one in catalogue.view(tenant, kind) if tenant is not None and one.tenant == tenant]
    for key in seen - view:
        assert any(
            one.identifier == key.name or (kind == "resource" and one.match(key.name) is not None) for one in own
        )
    assert catalogue.view(tenant, kind) == catalogue.view(tenant, kind)


@given(catalogues(), st.none() | few_tenants, st.sampled_from(["memo://ant", "memo://cat/legs", "memo://x/y", "x:y"]))
def test_a_uri_is_read_from_the_resource_of_its_name_or_else_from_a_template_that_matches(catalogue, tenant, uri):
    found = catalogue.resolve(tenant, uri)
    matching = [one for one in catalogue.view(tenant, "resource") if one.match(uri) is not None]
    assert (found is None) == (not matching)
    if found is not None:
        assert found in matching
        assert found.uri == uri or all(one.is_template for one in matching)
        if found.is_by_tenant:
            assert all(one.is_by_tenant for one in matching)


@given(operations())
def test_the_kinds_do_not_share_keys(one):
    twins = [one.key._replace(kind=kind) for kind in ("tool", "resource", "prompt")]
    assert one.key in twins
    assert len(set(twins)) == len({str(key) for key in twins}) == 3


@given(catalogues())
def test_looking_with_names_of_strangers_does_not_make_the_catalogue_grow(catalogue):
    owners = {key.tenant for key in catalogue.operations}
    for number in range(20):
        catalogue.view(TenantId(f"stranger-{number}"))
    assert catalogue._views.keys() <= owners | {None}


@given(tools(enabled=st.just(True)), tools(enabled=st.just(True)))
def test_the_first_of_two_tools_with_one_key_stays(one, other):
    second = other.model_copy(update={"name": one.name, "tenant": one.tenant, "is_by_tenant": one.is_by_tenant})
    catalogue, (finding,) = Catalogue.build([one, second])
    assert catalogue.tools == {one.key: one}
    assert finding.where == str(one.key)
    assert "rename" in finding.message


@given(tools(tenant=few_tenants, enabled=st.just(True)))
def test_a_disabled_global_tool_shadows_nothing(owned):
    disabled = owned.model_copy(update={"tenant": None, "enabled": False})
    catalogue, findings = Catalogue.build([disabled, owned])
    assert set(catalogue.tools) == {ToolKey(owned.tenant, owned.name)}
    assert findings == []


def test_a_shadow_and_a_twin_are_told_with_the_remedy():
    binding = LocalBinding(function="f")
    shadow = Tool(name="ANT", tenant="acme", binding=binding, is_by_tenant=True)
    own, common = Tool(name="cat", tenant="acme", binding=binding), Tool(name="cat", binding=binding)
    plain = Tool(name="ant", binding=binding)
    prompt = Prompt(name="bee", binding=binding)
    catalogue, findings = Catalogue.build([shadow, prompt, plain, prompt, plain, common, own])
    assert [str(finding) for finding in findings] == [
        "error: global/prompt:bee: a prompt of this name is registered already; rename one of them",
        "error: global/ant: a tool of this name is registered already; rename one of them",
        "error: acme/ANT: would stand in the place of the global tool ant; rename it",
        "error: global/cat: is not visible to acme, for whom the platform has another of this name; rename one of them",
    ]
    assert list(catalogue.operations.values()) == [prompt, plain, common, own]
    assert catalogue.view(TenantId("acme")) == (plain, own)
    assert catalogue.find(TenantId("acme"), "cat") is own
    assert catalogue.find(TenantId("beta"), "cat") is common


@given(catalogues(), catalogues())
def test_a_diff_names_what_came_what_changed_and_what_went(old, new):
    diff = old.diff(new)
    before, after = dict(old.operations), dict(new.operations)
    assert [one.key for one in diff.added] == [key for key in after if key not in before]
    assert set(diff.removed) == before.keys() - after.keys()
    assert {one.key for one in diff.changed} == {
        key for key in after.keys() & before.keys() if after[key] != before[key]
    }
    assert all(one is after[one.key] for one in (*diff.added, *diff.changed))
    assert not old.diff(old)


@given(tools(), tools())
def test_an_empty_diff_is_none_and_each_part_of_one_counts(one, other):
    assert not CatalogueDiff((), (), ())
    assert CatalogueDiff((one,), (), ()) and CatalogueDiff((), (one,), ()) and CatalogueDiff((), (), (one.key,))


@given(catalogues())
def test_a_catalogue_is_compared_by_its_content_and_is_no_key(catalogue):
    again = Catalogue(dict(catalogue.operations))
    assert (catalogue, len(again)) == (again, len(catalogue.operations))
    assert catalogue != dict(catalogue.operations)
    with pytest.raises(TypeError):
        hash(catalogue)
    with pytest.raises(TypeError):
        catalogue.operations["x"] = None


def test_what_the_maker_does_with_its_mapping_afterwards_changes_no_catalogue():
    tool = Tool(name="ant", binding=LocalBinding(function="f"))
    mapping = {tool.key: tool}
    catalogue = Catalogue(mapping)
    mapping.clear()
    assert catalogue.find(None, "ant") is tool


def test_a_view_is_made_once_for_each_owner():
    tool = Tool(name="ant", tenant="acme", binding=LocalBinding(function="f"))
    catalogue, _ = Catalogue.build([tool])
    assert catalogue.view(tool.tenant) is catalogue.view(tool.tenant)
    assert catalogue.view(tool.tenant) == (tool,)
    assert catalogue.view(None) == catalogue.view(TenantId("stranger")) == ()


def resource(text, tenant=None, *, by_team=False):
    return Resource(uri=text, tenant=tenant, binding=LocalBinding(function="f"), is_by_tenant=by_team)


@pytest.mark.parametrize(
    ("common", "theirs"),
    [
        ("memo://{id}", "memo://a"),
        ("memo://{id}", "memo://{name}"),
        ("memo://a", "memo://a"),
        ("memo://a", "MEMO://A"),
        ("memo://a", "memo://%61"),
        ("memo://{id}/legs", "memo://x/legs"),
    ],
)
def test_a_teams_resource_that_takes_uris_of_the_platform_is_refused(common, theirs):
    for owner in (None, "acme"):
        given, taken = resource(common, owner), resource(theirs, "acme", by_team=True)
        catalogue, (finding,) = Catalogue.build([taken, given])
        assert list(catalogue.operations.values()) == [given]
        assert finding.where == "acme/resource:" + theirs
        elsewhere, findings = Catalogue.build([taken, resource(common, "beta")])
        assert (len(elsewhere), findings) == (2, [])


def test_a_teams_template_reads_only_what_the_platforms_leave():
    swallowing, own, exact = (
        resource("db://{x}", "acme", by_team=True),
        resource("db://{x}/a", "acme"),
        resource("db://b"),
    )
    catalogue, findings = Catalogue.build([swallowing, own, exact])
    assert findings == []
    read = {uri: catalogue.resolve(TenantId("acme"), uri) for uri in ("db://q", "db://q/a", "db://b")}
    assert read == {"db://q": swallowing, "db://q/a": own, "db://b": exact}


def test_a_global_uri_within_a_tenants_template_is_not_the_tenants():
    template, hole = resource("db://{table}", "beta"), resource("db://payroll")
    catalogue, (finding,) = Catalogue.build([hole, template])
    assert catalogue.resolve(TenantId("beta"), "db://payroll") is template
    assert catalogue.view(TenantId("beta"), "resource") == (template,)
    assert catalogue.resolve(TenantId("acme"), "db://payroll") is hole
    assert (finding.where, "not visible to beta" in finding.message) == ("global/resource:db://payroll", True)


def test_building_tries_a_uri_against_the_templates_of_its_own_beginning_only():
    matched = []

    class Counted(Resource):
        def match(self, uri):
            matched.append(uri)
            return super().match(uri)

    def work(count):
        matched.clear()
        own = [resource(f"r{n}://a", "acme", by_team=True) for n in range(count)]
        binding = LocalBinding(function="f")
        templates = [Counted(uri=f"t{n}://{{x}}", binding=binding) for n in range(count)]
        Catalogue.build([*own, *templates, Counted(uri="r0://{x}", binding=binding)])
        return len(matched)

    assert work(50) == work(100) == 1


def test_of_several_templates_that_match_the_platforms_for_the_tenant_counts_and_then_the_first_by_its_text():
    binding = LocalBinding(function="f")

    def template(text, tenant=None):
        return Resource(uri=text, tenant=tenant, binding=binding)

    owned, late, early = template("a://{x}", "acme"), template("a://{z}"), template("a://{y}")
    exact = Resource(uri="a://one", tenant="acme", binding=binding)
    catalogue, _ = Catalogue.build([owned, late, early, exact])
    assert catalogue.resolve(TenantId("acme"), "a://two") is owned
    assert catalogue.resolve(TenantId("beta"), "a://two") is early
    assert catalogue.resolve(TenantId("acme"), "a://one") is exact
    assert catalogue.resolve(None, "a://one") is early
    assert catalogue.resolve(TenantId("acme"), "a://{y}") is None
    alone, _ = Catalogue.build([owned])
    assert alone.resolve(TenantId("acme"), "a://two") is owned
    assert alone.resolve(TenantId("beta"), "a://two") is None


def test_a_resource_is_found_by_its_kind_only():
    binding = LocalBinding(function="f")
    catalogue, _ = Catalogue.build([Prompt(name="ant", binding=binding), Tool(name="bee", binding=binding)])
    assert catalogue.find(None, "ant") is None
    assert catalogue.find(None, "ant", "prompt") is not None
    assert [one.identifier for one in catalogue.view(None)] == ["bee"]


def test_a_tenant_finds_what_is_global_and_what_is_its_own():
    binding = LocalBinding(function="f")
    common, own = Tool(name="ant", binding=binding), Tool(name="bee", tenant="acme", binding=binding)
    catalogue, _ = Catalogue.build([common, own])
    assert [catalogue.find(TenantId("acme"), name) for name in ("ant", "bee")] == [common, own]
    assert [catalogue.find(TenantId("beta"), name) for name in ("ant", "bee")] == [common, None]


@given(catalogues(), tool_lists)
def test_a_catalogue_that_is_extended_is_the_one_that_is_built_of_all_or_there_is_something_to_say(catalogue, added):
    extended = catalogue.extended(added)
    built, findings = Catalogue.build([*catalogue.operations.values(), *added])
    if extended is None:
        every = [*catalogue.operations.values(), *added]
        may_contest = any(one.is_by_tenant or (one.tenant is not None and one.is_template) for one in every)
        assert findings or may_contest or not all(one.enabled for one in added)
    else:
        _, earlier = Catalogue.build(catalogue.operations.values())
        assert (extended, findings) == (built, earlier)  # nothing to say of what was added
        assert list(extended.operations) == list(built.operations)
        assert all(extended.view(key.tenant) == built.view(key.tenant) for key in built.operations)


@pytest.mark.parametrize("size", [1, 20])
def test_a_catalogue_rests_after_each_operation_in_each_pass(size):
    rests = []
    old, new = (
        [Tool(name=f"t{n}", description=text, binding=LocalBinding(function="f")) for n in range(size)] for text in "ab"
    )
    catalogue, _ = Catalogue.build(new, rest=lambda: rests.append("build"))
    Catalogue.build(old)[0].diff(catalogue, lambda: rests.append("diff"))
    assert (rests.count("build"), rests.count("diff")) == (4 * size, size)


def test_an_indexed_catalogue_finds_what_another_finds_also_after_tools_were_changed():
    def tool(name: str, tenant: TenantId | None, text: str) -> Tool:
        earlier = (f"old-{name}",) if tenant else ()
        return Tool(
            name=name, tenant=tenant, earlier_names=earlier, description=text, binding=LocalBinding(function="f")
        )

    places = [(name, tenant) for name in ("a", "b", "c") for tenant in (None, TenantId("acme"), TenantId("beta"))]
    catalogue, _ = Catalogue.build([tool(f"{tenant}-{name}", tenant, "before") for name, tenant in places])
    rests = []
    catalogue.index(lambda: rests.append(1))
    new = [tool("acme-b", TenantId("acme"), "after"), tool("beta-a", TenantId("beta"), "after")]
    changed = catalogue.with_changed(new)
    built, _ = Catalogue.build(changed.operations.values())
    assert changed == built
    assert changed.tools == built.tools
    for tenant in (None, TenantId("acme"), TenantId("beta"), TenantId("none")):
        assert changed.view(tenant) == built.view(tenant)
        for name, owner in places:
            for asked in (f"{owner}-{name}", f"old-{owner}-{name}"):
                assert changed.find(tenant, asked) == built.find(tenant, asked)
    assert changed.find(TenantId("acme"), "old-acme-b") is new[0]
    assert len(rests) == 3 * len(places)
