"""Findings of a conversion: what is told, with pointer and line."""

import json

import pytest
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    binding,
    convert,
    messages,
    only_tool,
    operation,
    properties,
    swagger,
    with_parameters,
)

from stoa.domain.finding import Severity

TEXT = {"type": "string"}

YAML = """\
openapi: 3.0.3
info: {title: Pets, version: "1"}
servers: [{url: "https://api.example.com"}]
paths:
  /pets:
    get:
      parameters:
      - name: limit
        in: query
        schema: {type: integer}
      - name: Accept
        in: header
        schema: {type: string}
    get:
      operationId: last
  /gone:
    # a comment
    delete:
      $ref: ops/gone.yml
components:
  schemas:
    Pet:
      type: object
      type: string
"""


def test_findings_name_pointer_and_line_in_yaml():
    conversion = convert(YAML)
    told = {(finding.severity.value, finding.pointer, finding.line) for finding in conversion.findings}
    assert ("error", "/paths/~1pets/get", 14) in told
    assert ("error", "/paths/~1gone/delete", 18) in told
    assert ("warning", "/components/schemas/Pet/type", 24) in told


def test_findings_name_pointer_and_line_in_indented_json():
    document = api(
        {"/pets": {"get": operation()}, "/gone": {"post": operation(operationId="x"), "delete": {"$ref": "x.yml"}}}
    )
    text = json.dumps(document, indent=2)
    (finding,) = convert(text).findings
    assert finding.pointer == "/paths/~1gone/delete"
    assert text.splitlines()[finding.line - 1].strip().startswith('"delete"')
    assert str(finding).endswith(f"(line {finding.line})")


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_key_that_occurs_twice_in_json_is_a_finding_with_its_line(indent):
    text = json.dumps(api({"/pets": {"get": operation(operationId="first")}}), indent=indent)
    twice = text.replace('"operationId": "first"', '"operationId": "first",\n "operationId": "second"')
    conversion = convert(twice)
    assert [tool.name for tool in conversion.tools] == ["second"]
    (finding,) = conversion.findings
    assert finding.pointer == "/paths/~1pets/get/operationId"
    assert '"second"' in twice.splitlines()[finding.line - 1]


def test_path_that_occurs_twice_is_an_error_because_operations_are_lost():
    text = json.dumps(api({"/pets": {"get": operation()}}))
    twice = text.replace('"/pets": {"get"', '"/pets": {"delete": {}}, "/pets": {"get"')
    (finding,) = convert(twice).findings
    assert (finding.severity, finding.pointer) == (Severity.ERROR, "/paths/~1pets")


def test_document_without_repeated_keys_has_no_finding():
    assert not convert(api({"/pets": {"get": operation()}})).findings


def test_body_parameter_of_version_2_is_read_in_a_later_document():
    schema = {"type": "object", "required": ["name"], "properties": {"name": TEXT}}
    document = api({"/pets": {"post": operation(parameters=[{"in": "body", "name": "pet", "schema": schema}])}})
    tool = only_tool(document)
    assert binding(tool).body.media_type == "application/json"
    assert not accepts(tool, {})
    assert "`in: body` and `in: formData` are of 2.0" in messages(convert(document))


def test_form_parameters_of_version_2_are_read_in_a_later_document():
    fields = [{"in": "formData", "name": "a", "type": "string"}, {"in": "formData", "name": "b", "schema": TEXT}]
    tool = only_tool(api({"/pets": {"post": operation(parameters=fields)}}))
    assert binding(tool).body.media_type == "application/x-www-form-urlencoded"
    assert list(properties(tool)) == ["a", "b"]


def test_type_beside_the_name_of_a_parameter_is_read_in_a_later_document():
    written = {"name": "ids", "in": "query", "type": "array", "items": {"type": "integer"}, "collectionFormat": "pipes"}
    document = with_parameters(written)
    tool = only_tool(document)
    assert properties(tool)["ids"] == {"type": "array", "items": {"type": "integer"}}
    assert binding(tool).parameters[0].style == "pipeDelimited"
    assert "`type` beside `name` is of 2.0" in messages(convert(document))


def test_host_of_version_2_is_read_where_a_later_document_has_no_servers():
    document = api({"/pets": {"get": operation()}}, host="old.example.com", basePath="/v1", schemes=["https"])
    del document["servers"]
    assert binding(only_tool(document)).base_url == "https://old.example.com/v1"
    assert "`host` is of 2.0" in messages(convert(document))


def test_response_schema_of_version_2_is_read_in_a_later_document():
    schema = {"type": "object", "properties": {"name": TEXT}}
    document = api({"/pets": {"get": operation(responses={"200": {"description": "ok", "schema": schema}})}})
    assert "name" in only_tool(document).output_schema["properties"]
    assert "`schema` without `content` is of 2.0" in messages(convert(document))


def test_request_body_of_version_3_is_read_in_a_document_of_version_2():
    body = {"required": True, "content": {"application/json": {"schema": {"type": "array", "items": TEXT}}}}
    tool = only_tool(swagger({"/pets": {"post": operation(requestBody=body)}}))
    assert binding(tool).body.argument == "body"


def test_paths_of_the_extension_x_ms_paths_become_tools_with_a_finding():
    document = api(
        {"/pets": {"get": operation()}},
        **{"x-ms-paths": {"/pets?comp=toys": {"get": operation(operationId="toys")}}},
    )
    conversion = convert(document)
    assert [tool.name for tool in conversion.tools] == ["act", "toys"]
    assert binding(conversion.tools[1]).fixed_query == (("comp", "toys"),)
    assert [finding.pointer for finding in conversion.findings] == ["/x-ms-paths"]


def test_document_without_operations_is_a_finding():
    assert "so there are no tools" in messages(convert(api({})))


@pytest.mark.parametrize("name", ["Accept", "content-type", "Authorization", "Content-Encoding", "Content-Length"])
def test_header_parameters_that_the_gateway_sends_are_left_out_with_a_finding(name):
    conversion = convert(with_parameters({"name": name, "in": "header", "required": True, "schema": TEXT}))
    assert properties(conversion.tools[0]) == {}
    (finding,) = conversion.findings
    assert f"{name!r} is left out" in finding.message
    assert finding.pointer == "/paths/~1pets/get"


def test_finding_tells_of_a_parameter_that_is_given_twice():
    twice = [{"name": "a", "in": "query", "schema": {"type": kind}} for kind in ("string", "integer")]
    conversion = convert(with_parameters(*twice))
    assert "the query parameter 'a' is given twice; the last one counts" in messages(conversion)
    assert properties(conversion.tools[0])["a"]["type"] == "integer"


def test_finding_tells_of_webhooks_and_callbacks_which_become_no_tools():
    back = {"onX": {"{$request.body#/url}": {"post": operation(operationId="back")}}}
    document = api({"/a": {"post": operation(callbacks=back)}}, "3.1.0", webhooks={"w": {"post": operation()}})
    conversion = convert(document)
    assert [tool.name for tool in conversion.tools] == ["act"]
    assert "1 webhooks are calls of the API to others" in messages(conversion)
    assert "1 operations have callbacks, which are calls of the API to others" in messages(conversion)


def test_finding_of_a_body_names_its_operation_once():
    body = {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/nowhere"}}}}}
    (finding,) = convert(api({"/a": {"post": operation(requestBody=body)}})).findings
    assert finding.pointer == "/paths/~1a/post"


def test_parts_that_are_null_are_parts_that_are_not_there():
    nothing = dict.fromkeys(("parameters", "tags", "requestBody", "responses", "security", "summary"))
    conversion = convert(api({"/a": {"get": {"operationId": "act", **nothing}}, "/b": None, "/c": {"get": None}}))
    assert [tool.name for tool in conversion.tools] == ["act", "get_c"]
    assert not conversion.findings
