"""Names of tools follow from what operations say, stay apart, and can be read where they are cut."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.infrastructure.openapi.documents import api, convert, messages, operation

_BATCH = ("archive", "create", "read", "update", "upsert")
_IDS = st.sampled_from(
    [
        "list",
        "a/b",
        "a b",
        "a_b",
        "a_b_2",
        "x" * 60 + "y",
        "x" * 60 + "z",
        "\u30da\u30c3\u30c8",
        "getBatchOfPets" * 5,
        "",
    ]
)
_OPERATIONS = st.dictionaries(
    st.tuples(
        st.sampled_from(["/pets", "/pets/{id}", "/dogs", "/shops/{shop}/dogs"]), st.sampled_from(["get", "put", "post"])
    ),
    _IDS,
    max_size=8,
)


def document(ids: dict[tuple[str, str], str]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for (path, method), identifier in ids.items():
        paths.setdefault(path, {})[method] = operation(operationId=identifier)
    return api(paths)


def names_by_operation(ids: dict[tuple[str, str], str]) -> dict[str, str]:
    """By method and path, through the description that stands in for one of its own."""
    return {tool.description: tool.name for tool in convert(document(ids)).tools}


def names(*ids: str, **options: Any) -> list[str]:
    paths = {
        f"/{place}": {"get": operation(operationId=identifier)}
        for place, identifier in zip("abcdefgh", ids, strict=False)
    }
    return [tool.name for tool in convert(api(paths), **options).tools]


@given(_OPERATIONS, st.randoms(use_true_random=False))
def test_names_do_not_depend_on_the_order_of_the_document(ids, random):
    shuffled = list(ids.items())
    random.shuffle(shuffled)
    assert names_by_operation(dict(shuffled)) == names_by_operation(ids)


def test_names_of_batch_operations_differ_by_words_and_not_by_a_digest():
    ids = [f"post-/crm/v3/objects/{{objectType}}/associations/{{toObjectType}}/batch/{verb}_{verb}" for verb in _BATCH]
    made = names(*ids)
    assert all(len(name) <= 48 for name in made)
    assert [name.rpartition("_")[2] for name in made] == list(_BATCH)


def test_a_name_that_is_cut_loses_repeated_and_empty_words_before_letters():
    assert names("ArchivedWorkflowService_ListArchivedWorkflowLabelValues") == [
        "ArchivedWorkflowService_ListLabelValues"
    ]
    assert names("apps/list-installation-requests-for-the-authenticated-app") == [
        "apps_list-installation-requests-authenticate-app"
    ]


def test_names_that_were_cut_to_one_keep_what_differs():
    made = names(*(f"{'Long' * 3}{word}{'Tail' * 12}" for word in ("Alpha", "Beta")))
    assert made == ["LongAlphaTail", "LongBetaTail"]
    same_when_cut = names(
        *(f"set{'Wordy' * 3}{word}Of{'ABCDEFGHIJKLMNOPQRSTUVWXYZ' * 2}Done" for word in ("Alpha", "Alphabet"))
    )
    assert len(set(same_when_cut)) == 2


def test_an_id_given_twice_stays_with_the_shortest_path_and_path_words_tell_the_other():
    ids = {("/shops/{shop}/dogs", "get"): "list", ("/dogs", "get"): "list"}
    assert names_by_operation(ids) == {"GET /dogs": "list", "GET /shops/{shop}/dogs": "list_shops_shop"}
    assert "GET /shops/{shop}/dogs: the name 'list' fits several operations" in messages(convert(document(ids)))


def test_an_id_in_another_script_gives_way_to_words_of_the_path():
    ids = {
        ("/pets/{id}", "get"): "\u30da\u30c3\u30c8\u3092\u53d6\u5f97",
        ("/pets", "post"): "create\u30da\u30c3\u30c8",
        ("/pets", "get"): "cr\u00e9er",
    }
    assert set(names_by_operation(ids).values()) == {"get_pets_id", "post_pets", "creer"}


def test_long_prefixes_leave_a_legal_name():
    made = names("listPets", "listDogs", name_prefix="a_very_long_prefix_of_many_many_words_", name_suffix="_v1")
    assert len(set(made)) == 2
    assert all(len(name) <= 48 for name in made)


def test_names_that_this_version_changed_are_remembered_unless_another_tool_has_them():
    (tool,) = convert(document({("/pets", "get"): "w" * 30 + "Of" + "W" * 30})).tools
    assert tool.earlier_names == ("w" * 30 + "Of" + "W" * 9 + "_" + tool.earlier_names[0][-6:],)
    (unchanged,) = convert(document({("/pets", "get"): "list"})).tools
    assert unchanged.earlier_names == ()
    twice = convert(document({("/shops/{shop}/dogs", "get"): "list", ("/dogs", "get"): "list"})).tools
    assert {tool.name: tool.earlier_names for tool in twice} == {"list": ("list_2",), "list_shops_shop": ()}
