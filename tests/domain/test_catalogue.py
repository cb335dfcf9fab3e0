"""Catalogues: views per tenant, no shadowing, diffs that lead from one snapshot to the next."""

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import catalogues, few_names, few_tenants, few_uris, operations, tools

from stoa.domain.catalogue import Catalogue
from stoa.domain.finding import Severity
from stoa.domain.identity import TenantId
from stoa.domain.tool import ToolKey

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
