"""Text of others holds nothing that a terminal obeys, that hides, or that turns the text round."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import object_schemas

from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.schema.plain_text import PlainParts, escaped, plain, plain_notes

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eevil\u2066 \x7f\x00 tag\U000e0041 \u200e[/foo]"
SHOWN = "[31mred]0;title 2J evil  tag [/foo]"
any_text = st.text() | st.lists(st.sampled_from([*HOSTILE, "a", "\n", "\t", "é", "😀", "\u200d", "\u200b"])).map(
    "".join
)


@pytest.mark.parametrize("kept", ["tab\tand\nline", "żółć 日本語 עברית العربية", "👩‍🚀 🏳️‍🌈", "[/foo] <b> & \\", ""])
def test_plain_text_stays_as_it_is(kept):
    assert plain(kept) == kept


def test_plain_text_has_no_controls_no_directions_and_no_tags():
    assert plain(HOSTILE) == SHOWN
    assert plain("one\r\ntwo\rthree\u2028four") == "one\ntwothreefour"


def test_plain_text_has_nothing_without_width_that_joins_nothing():
    assert plain("ig\u200bno\u2060re\u00ad a\u200d\u200cll\u180e \u200dé\U000e0101") == "ignore all é"
    assert plain("\u0645\u06cc\u200c\u062e 👩\u200d🚀") == "\u0645\u06cc\u200c\u062e 👩\u200d🚀"


@given(any_text)
def test_plain_text_has_no_control_but_tab_and_line_feed_and_is_plain_already(text):
    shown = plain(text)
    assert {char for char in shown if unicodedata.category(char) == "Cc"} <= {"\t", "\n"}
    assert {unicodedata.bidirectional(char) for char in shown} & {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI"} == set()
    assert plain(shown) == shown


@given(st.dictionaries(any_text.filter(str.isprintable), any_text))
def test_json_that_is_escaped_says_the_same_and_is_plain(value):
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(escaped(text)) == value
    assert plain(escaped(text)) == escaped(text)


@given(object_schemas())
def test_plain_notes_change_nothing_in_schemas_that_are_plain(schema):
    assert plain_notes(schema) is schema


def test_plain_notes_are_made_wherever_a_schema_has_notes_and_data_stays():
    data = {"description": HOSTILE, "title": HOSTILE}
    schema = {
        "type": "object",
        "description": HOSTILE,
        "properties": {
            "description": {"type": "string", "title": HOSTILE, "default": HOSTILE, "enum": [HOSTILE]},
            "b": {"anyOf": [{"description": HOSTILE, "const": data, "examples": [data]}, True]},
            HOSTILE: {"type": "null"},
        },
    }
    made = plain_notes(schema)
    assert made["description"] == SHOWN
    assert made["properties"]["description"] == {
        "type": "string",
        "title": SHOWN,
        "default": HOSTILE,
        "enum": [HOSTILE],
    }
    assert made["properties"]["b"] == {"anyOf": [{"description": SHOWN, "const": data, "examples": [data]}, True]}
    assert HOSTILE in made["properties"]
    assert schema["description"] == HOSTILE


def test_plain_notes_look_at_each_part_once_also_where_parts_are_shared_or_within_themselves():
    shared = {"description": "\x1b"}
    for _ in range(100):
        shared = {"anyOf": [shared, shared]}
    assert plain_notes(shared) is not shared
    loop = {"type": "object"}
    loop["properties"] = {"a": loop, "b": loop}
    assert plain_notes(loop) is loop


def test_plain_text_is_what_models_get_of_tools_and_prompts():
    tool = Tool(
        name="t",
        title=HOSTILE,
        description=HOSTILE,
        input_schema={"type": "object", "description": HOSTILE},
        output_schema={"type": "object", "title": HOSTILE},
        binding=LocalBinding(function="t"),
    )
    assert (tool.title, tool.description) == (SHOWN, SHOWN)
    assert tool.input_schema["description"] == SHOWN
    assert tool.output_schema["title"] == SHOWN
    argument = PromptArgument(name="a", title=HOSTILE, description=HOSTILE)
    prompt = Prompt(name="p", description=HOSTILE, arguments=(argument,), binding=LocalBinding(function="p"))
    assert (prompt.description, argument.title, argument.description) == (SHOWN, SHOWN, SHOWN)
    assert prompt.input_schema["properties"]["a"]["description"] == SHOWN


def test_plain_parts_that_several_schemas_share_are_made_plain_once():
    shared = {"type": "string", "description": f"one{HOSTILE}"}
    quiet = {"type": "string", "description": "two"}
    parts = PlainParts()
    made = [
        Tool.model_validate(
            {
                "name": name,
                "input_schema": {"type": "object", "properties": {"a": shared, "b": quiet}},
                "binding": LocalBinding(function="f"),
            },
            context=parts,
        ).input_schema["properties"]
        for name in ("first", "second")
    ]
    assert made[0]["a"]["description"] == f"one{SHOWN}"
    assert made[0]["a"] is made[1]["a"]
    assert made[0]["b"] is made[1]["b"] is quiet


@given(object_schemas())
def test_plain_parts_change_no_result(schema):
    parts = PlainParts()
    assert plain_notes(schema, parts) == plain_notes(schema)
    assert plain_notes({"type": "object", "properties": {"again": schema}}, parts)["properties"] == {
        "again": plain_notes(schema)
    }
