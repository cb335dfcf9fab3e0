"""Conditions between members, values that may be empty, and tuples: what words have to say."""

from tests.infrastructure.openapi.documents import accepts, convert, messages, only_tool, with_body, with_parameters

TEXT = {"type": "string"}
MEMBERS = {"a": TEXT, "b[x]": TEXT, "c": TEXT}


def test_condition_on_the_members_of_a_body_is_a_sentence_with_the_names_of_the_arguments():
    schema = {"type": "object", "properties": MEMBERS, "required": ["c"], "dependentRequired": {"a": ["b[x]", "c"]}}
    schema["anyOf"] = [{"required": ["a", "c"]}, {"required": ["b[x]"]}]
    conversion = convert(with_body(schema, version="3.1.0"))
    assert conversion.tools[0].description.endswith("Give a or b_x; with a give b_x.")
    assert "is said in words" in messages(conversion)


def test_condition_on_the_number_of_members_is_a_sentence():
    schema = {"type": "object", "properties": MEMBERS, "minProperties": 2}
    assert "Give at least 2 of the members of the body." in only_tool(with_body(schema)).description
    assert "at least" not in only_tool(with_body({**schema, "required": ["a", "c"]})).description


def test_parameter_that_may_be_empty_takes_the_empty_text_and_what_it_took():
    flag = {"name": "f", "in": "query", "allowEmptyValue": True, "schema": {"type": "boolean"}}
    choice = {"name": "c", "in": "query", "allowEmptyValue": True, "schema": {**TEXT, "enum": ["x"], "default": "x"}}
    plain = {"name": "p", "in": "query", "allowEmptyValue": True, "schema": TEXT}
    tool = only_tool(with_parameters(flag, choice, plain))
    assert accepts(tool, {"f": "", "c": "", "p": ""})
    assert accepts(tool, {"f": True, "c": "x", "p": "y"})
    assert not accepts(tool, {"f": "x"})
    shown = tool.portable_input_schema["properties"]
    assert shown["f"] == {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 0}]}
    assert shown["c"] == {"type": "string", "enum": ["x"], "default": "x", "description": "or an empty string"}
    assert shown["p"] == TEXT


def test_parameter_outside_the_query_is_never_empty():
    header = {"name": "X-F", "in": "header", "allowEmptyValue": True, "schema": {"type": "boolean"}}
    assert not accepts(only_tool(with_parameters(header)), {"X-F": ""})


def test_parameter_without_a_type_keeps_its_words():
    tool = only_tool(with_parameters({"name": "q", "in": "query", "description": "What is sought", "schema": {}}))
    assert tool.portable_input_schema["properties"]["q"]["description"] == "What is sought"
