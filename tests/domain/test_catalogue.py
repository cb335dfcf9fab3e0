"""Catalogues: views per tenant, no shadowing, diffs that lead from one snapshot to the next."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import catalogues, few_names, few_tenants, few_uris, operations, tools

from stoa.domain.catalogue import Catalogue, CatalogueDiff
from stoa.domain.finding import Severity
from stoa.domain.identity import TenantId
from stoa.domain.prompt import Prompt
from stoa.domain.resource import Resource
from stoa.domain.tool import LocalBinding, Tool, ToolKey

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
    assert len(catalogue) + len(findings) == len(enabled)
    assert all(one.enabled for one in catalogue.operations.values())
    left_out = {finding.where for finding in findings}
    assert left_out <= {str(tool.key) for tool in enabled}
    assert all(finding.severity is Severity.ERROR for finding in findings)


@given(tool_lists, st.randoms(use_true_random=False))
def test_a_tenants_tool_never_shadows_a_global_one_whatever_the_order(found, random_order: random.Random):
    shuffled = list(found)
    random_order.shuffle(shuffled)
    global_names = {(tool.name, tool.kind) for tool in found if tool.enabled and tool.tenant is None}
    for order in (found, shuffled):
        catalogue, _ = Catalogue.build(order)
        owned = {key[1:] for key in catalogue.operations if key.tenant is not None}
        assert not owned & global_names
        assert {key[1:] for key in catalogue.operations if key.tenant is None} == global_names


@given(catalogues(), st.none() | few_tenants, few_names | few_uris, kinds)
def test_find_and_view_agree(catalogue, tenant, name, kind):
    view = catalogue.view(tenant, kind)
    assert [tool.name for tool in view] == sorted({tool.name for tool in view})
    assert catalogue.find(tenant, name, kind) == next((tool for tool in view if tool.name == name), None)


@given(catalogues(), st.none() | few_tenants | st.just(TenantId("stranger")), kinds)
def test_a_view_holds_what_is_global_and_the_tenants_own_of_its_kind_and_nothing_else(catalogue, tenant, kind):
    expected = {key for key in catalogue.operations if key.kind == kind and key.tenant in {None, tenant}}
    assert {tool.key for tool in catalogue.view(tenant, kind)} == expected
    assert catalogue.view(tenant, kind) == catalogue.view(tenant, kind)


@given(catalogues(), st.none() | few_tenants, st.sampled_from(["memo://ant", "memo://cat/legs", "memo://x/y", "x:y"]))
def test_a_uri_is_read_from_the_resource_of_its_name_or_else_from_a_template_that_matches(catalogue, tenant, uri):
    found = catalogue.resolve(tenant, uri)
    matching = [one for one in catalogue.view(tenant, "resource") if one.match(uri) is not None]
    assert (found is None) == (not matching)
    if found is not None:
        assert found in matching
        assert found.name == uri or all(one.is_template for one in matching)
        if found.is_template and found.tenant is not None:
            assert all(one.tenant is not None for one in matching)


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
    second = other.model_copy(update={"name": one.name, "tenant": one.tenant})
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
    shadow = Tool(name="ant", tenant="acme", binding=binding)
    plain = Tool(name="ant", binding=binding)
    prompt = Prompt(name="bee", binding=binding)
    catalogue, findings = Catalogue.build([shadow, prompt, plain, prompt, plain])
    assert [str(finding) for finding in findings] == [
        "error: global/prompt:bee: a prompt of this name is registered already; rename one of them",
        "error: global/ant: a tool of this name is registered already; rename one of them",
        "error: acme/ant: would shadow the global tool ant; rename it",
    ]
    assert list(catalogue.operations.values()) == [prompt, plain]
    assert list(catalogue.tools) == [plain.key]


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


def test_of_several_templates_that_match_a_global_one_counts_and_then_the_first_by_its_text():
    binding = LocalBinding(function="f")

    def template(text, tenant=None):
        return Resource(name=text, tenant=tenant, binding=binding)

    owned, late, early = template("a://{x}", "acme"), template("a://{z}"), template("a://{y}")
    exact = Resource(name="a://one", tenant="acme", binding=binding)
    catalogue, _ = Catalogue.build([owned, late, early, exact])
    assert catalogue.resolve(TenantId("acme"), "a://two") is early
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
    assert [one.name for one in catalogue.view(None)] == ["bee"]


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
        assert findings or not all(one.enabled for one in added)
    else:
        assert (extended, findings) == (built, [])
        assert list(extended.operations) == list(built.operations)
        assert all(extended.view(key.tenant) == built.view(key.tenant) for key in built.operations)
