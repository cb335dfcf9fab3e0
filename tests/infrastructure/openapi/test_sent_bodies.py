"""Bodies from the description to the wire: what a back end on a loopback socket is sent for the arguments of a call."""

import base64
import email.parser
import email.policy
from xml.etree import ElementTree

import pytest
from tests.infrastructure.openapi.documents import (
    api,
    binding,
    convert,
    messages,
    only_tool,
    operation,
    properties,
    swagger,
)
from tests.infrastructure.rest.loopback import answer, called, loopback, rest_backend

from stoa.domain.errors import InvalidArguments

TEXT = {"type": "string"}
FILE = {"type": "string", "format": "binary"}
MULTIPART = "multipart/form-data"


def posting(content, version="3.0.3", required=True, **rest):
    body = {"required": required, "content": content}
    return api({"/pets": {"post": operation(requestBody=body)}}, version, **rest)


async def sent(written, arguments, **options):
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        await called(backend, only_tool(written, base_url=server.url, **options), **arguments)
        return server.seen[0]


def parts_of(seen):
    head = f"Content-Type: {seen.header('Content-Type')}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + seen.body)
    assert message.is_multipart()
    assert not message.defects
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part["Content-Type"],
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


def form_of(**members):
    return {"schema": {"type": "object", "properties": members}}


async def test_multipart_sends_files_objects_and_each_entry_of_an_array_as_parts():
    members = {
        "name": TEXT,
        "age": {"type": "integer"},
        "photo": FILE,
        "more": {"type": "array", "items": FILE},
        "tags": {"type": "array", "items": TEXT},
        "home": {"type": "object", "properties": {"city": TEXT}},
    }
    arguments = {
        "name": "Mü\r\n--x",
        "age": 3,
        "photo": base64.b64encode(b"\x89PNG\r\n").decode(),
        "more": ["data:text/csv;name=a%22b.csv;base64,YSxi", "data:,plain%20text"],
        "tags": ["a", "b"],
        "home": {"city": "Bonn"},
    }
    assert parts_of(await sent(posting({MULTIPART: form_of(**members)}), arguments)) == [
        ("name", None, None, "Mü\r\n--x".encode()),
        ("age", None, None, b"3"),
        ("photo", "photo", "application/octet-stream", b"\x89PNG\r\n"),
        ("more", "a%22b.csv", "text/csv", b"a,b"),
        ("more", "more", "application/octet-stream", b"plain text"),
        ("tags", None, None, b"a"),
        ("tags", None, None, b"b"),
        ("home", None, "application/json", b'{"city":"Bonn"}'),
    ]


async def test_multipart_encoding_says_the_type_of_a_part():
    written = posting({MULTIPART: form_of(photo=TEXT, meta=TEXT, note={"type": "object"})})
    written["paths"]["/pets"]["post"]["requestBody"]["content"][MULTIPART]["encoding"] = {
        "photo": {"contentType": "image/png, image/jpeg"},
        "meta": {"contentType": "application/json"},
        "note": {"contentType": "application/vnd.x+json"},
    }
    seen = await sent(written, {"photo": "aGk=", "meta": "m", "note": {}})
    assert [(name, kind, content) for name, _, kind, content in parts_of(seen)] == [
        ("photo", "image/png", b"hi"),
        ("meta", "application/json", b'"m"'),
        ("note", "application/vnd.x+json", b"{}"),
    ]


async def test_multipart_file_of_version_3_1_and_of_version_2_is_bytes():
    later = posting({MULTIPART: form_of(file={"type": "string", "contentMediaType": "application/pdf"})}, "3.1.0")
    assert parts_of(await sent(later, {"file": "aGk="}))[0][3] == b"hi"
    form = [{"name": "file", "in": "formData", "type": "file"}, {"name": "n", "in": "formData", "type": "integer"}]
    seen = await sent(swagger({"/pets": {"post": operation(parameters=form)}}), {"file": "aGk=", "n": 1})
    assert [(name, content) for name, _, _, content in parts_of(seen)] == [("file", b"hi"), ("n", b"1")]


@pytest.mark.parametrize(
    "value", ['x"\r\nX-Evil: 1', "--boundary--", "data:a\r\nb;name=x%0D%0Ay;base64,aGk="], ids=["quote", "end", "uri"]
)
async def test_multipart_values_cannot_add_parts_or_headers(value):
    parts = parts_of(await sent(posting({MULTIPART: form_of(file=FILE, a=TEXT)}), {"file": value, "a": value}))
    assert [name for name, _, _, _ in parts] == ["file", "a"]
    assert parts[1][3] == value.encode()


@pytest.mark.parametrize(
    "media_type",
    ["application/octet-stream", "image/png", "application/pdf", "application/zip", "application/pkcs10", "audio/*"],
)
@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("iVBORw==", b"\x89PNG"),
        ("data:image/png;base64,iVBORw==", b"\x89PNG"),
        ("no base64!", b"no base64!"),
        ("", b""),
    ],
)
async def test_binary_body_is_sent_as_its_bytes(media_type, value, content):
    seen = await sent(posting({media_type: {"schema": FILE}}), {"body": value})
    assert seen.body == content
    named = "image/png" if value.startswith("data:") else "application/octet-stream"
    assert seen.header("Content-Type") == media_type.replace("audio/*", named)


async def test_binary_body_that_is_no_data_uri_is_refused_before_it_is_sent():
    with pytest.raises(InvalidArguments, match="base64"):
        await sent(posting({"image/png": {}}), {"body": "data:image/png;base64,@@"})


async def test_certificate_is_sent_as_its_text():
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    for media_type in ("application/x-pem-file", "application/pkix-cert", "application/x-x509-ca-cert"):
        assert (await sent(posting({media_type: {"schema": TEXT}}), {"body": pem})).body == pem.encode()


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/jsonl"])
async def test_lines_of_json_are_sent_for_a_list(media_type):
    entry = {"type": "object", "properties": {"a": {"type": "integer"}}}
    written = posting({media_type: {"schema": entry}})
    assert properties(only_tool(written))["body"]["type"] == "array"
    seen = await sent(written, {"body": [{"a": 1}, {"a": 2}]})
    assert (seen.body, seen.header("Content-Type")) == (b'{"a":1}\n{"a":2}\n', media_type)


async def test_lines_of_json_are_sent_where_the_examples_of_a_list_show_them():
    entry = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shown = {"schema": {"type": "array", "items": entry}, "example": '{"a": 1}\n{"a": 2}'}
    written = posting({"application/json": shown})
    seen = await sent(written, {"body": [{"a": 1}, {"a": 2}]})
    assert (seen.body, seen.header("Content-Type")) == (b'{"a":1}\n{"a":2}\n', "application/x-ndjson")
    assert "lines of JSON" in messages(convert(written))
    tried = convert(written, tries_examples=True).examples
    assert [example.refusal for example in tried] == [None]
    for other in ([{"a": 1}], '{"a": 1}'):
        seen = await sent(posting({"application/json": {**shown, "example": other}}), {"body": [{"a": 1}]})
        assert (seen.body, seen.header("Content-Type")) == (b'[{"a":1}]', "application/json")


@pytest.mark.parametrize("media_type", ["application/*+json", "*/*", "application/*"])
async def test_wildcard_type_is_sent_as_json(media_type):
    seen = await sent(posting({media_type: form_of(a=TEXT)}), {"a": "x"})
    assert (seen.body, seen.header("Content-Type")) == (b'{"a":"x"}', "application/json")


PET = {
    "type": "object",
    "xml": {"name": "pet", "namespace": "urn:pets", "prefix": "p"},
    "properties": {
        "id": {"type": "integer", "xml": {"attribute": True}},
        "name": {**TEXT, "xml": {"name": "fullName"}},
        "tags": {"type": "array", "xml": {"wrapped": True}, "items": {**TEXT, "xml": {"name": "tag"}}},
        "photos": {"type": "array", "items": TEXT, "xml": {"name": "photo"}},
        "friend": {"$ref": "#/components/schemas/Pet"},
        "none": {**TEXT, "nullable": True},
    },
}


async def test_xml_body_has_the_names_attributes_wrappers_and_namespaces_of_its_schema():
    written = posting(
        {"application/xml": {"schema": {"$ref": "#/components/schemas/Pet"}}}, components={"schemas": {"Pet": PET}}
    )
    arguments = {
        "id": 1,
        "name": "<A & B>",
        "tags": ["x", "y"],
        "photos": ["1", "2"],
        "friend": {"id": 2, "name": "C"},
        "none": None,
    }
    seen = await sent(written, arguments)
    assert seen.header("Content-Type") == "application/xml"
    root = ElementTree.fromstring(seen.body)  # what we wrote ourselves
    assert (root.tag, root.attrib) == ("{urn:pets}pet", {"id": "1"})
    assert root.findtext("fullName") == "<A & B>"
    assert [tag.text for tag in root.find("tags")] == ["x", "y"]
    assert [tag.tag for tag in root.find("tags")] == ["tag", "tag"]
    assert [photo.text for photo in root.findall("photo")] == ["1", "2"]
    assert [child.tag for child in root][-1] == "{urn:pets}pet"
    assert root[-1].attrib == {"id": "2"}


async def test_xml_body_is_named_by_its_component_and_keeps_text_as_it_is():
    schema = {"type": "object", "properties": {"a b": TEXT, "a": TEXT}}
    written = posting(
        {"text/xml": {"schema": {"$ref": "#/components/schemas/Order"}}}, components={"schemas": {"Order": schema}}
    )
    assert (await sent(written, {"a": "1"})).body.endswith(b"<Order><a>1</a></Order>")
    with pytest.raises(InvalidArguments, match="names that XML allows"):
        await sent(written, {"a_b": "1"})
    assert (await sent(posting({"application/soap+xml": {}}), {"body": "<e/>"})).body == b"<e/>"


def test_body_of_several_types_is_sent_as_the_tool_set_prefers():
    written = posting({"application/json": form_of(a=TEXT), MULTIPART: form_of(f=FILE), "text/csv": {"schema": TEXT}})
    assert binding(only_tool(written)).body.media_type == "application/json"
    preferring = {media_type: only_tool(written, media_types=(media_type,)) for media_type in (MULTIPART, "text/csv")}
    assert {name: binding(tool).body.media_type for name, tool in preferring.items()} == {
        MULTIPART: MULTIPART,
        "text/csv": "text/csv",
    }


def test_file_argument_says_how_a_file_is_written():
    assert "base64" in properties(only_tool(posting({MULTIPART: form_of(f=FILE)})))["f"]["description"]


@pytest.mark.parametrize("required", [True, False])
async def test_required_list_that_is_empty_is_sent_as_the_style_says(required):
    schema = {"type": "array", "items": TEXT}
    styles = [{"name": "a"}, {"name": "b", "explode": False}, {"name": "c", "style": "pipeDelimited"}]
    parameters = [{**style, "in": "query", "required": required, "schema": schema} for style in styles]
    written = api({"/pets": {"get": operation(parameters=parameters)}})
    seen = await sent(written, {"a": [], "b": [], "c": []})
    assert seen.target == ("/pets?a=&b=&c=" if required else "/pets")


async def test_path_with_double_slashes_is_kept():
    seen = await sent(api({"/pets//{id}//toys/": {"get": operation()}}), {"id": "a//b"})
    assert seen.target == "/pets//a%2F%2Fb//toys/"


def test_bodies_of_all_kinds_cost_no_finding():
    for media_type in ("image/png", MULTIPART, "application/xml", "application/x-ndjson"):
        assert not convert(posting({media_type: form_of(a=TEXT)})).findings


async def test_accept_parameter_with_several_values_is_a_choice_of_the_caller():
    schema = {"type": "string", "enum": ["application/json", "application/vnd.raw"]}
    written = api({"/pets": {"get": operation(parameters=[{"name": "Accept", "in": "header", "schema": schema}])}})
    assert (await sent(written, {"Accept": "application/vnd.raw"})).header("Accept") == "application/vnd.raw"
    assert (await sent(written, {})).header("Accept") == "application/json, */*;q=0.8"


async def test_cookie_header_is_sent_where_no_cookie_is_written_by_the_gateway():
    written = api({"/pets": {"get": operation(parameters=[{"name": "Cookie", "in": "header", "schema": TEXT}])}})
    assert (await sent(written, {"Cookie": "a=1; b=2"})).header("Cookie") == "a=1; b=2"
    written["paths"]["/pets"]["get"]["parameters"].append({"name": "a", "in": "cookie", "schema": TEXT})
    assert list(properties(only_tool(written))) == ["a"]


async def test_multipart_parts_have_the_style_and_the_constant_headers_of_their_encoding():
    members = {"tags": {"type": "array", "items": TEXT}, "deep": {"type": "object"}, "file": FILE}
    written = posting({MULTIPART: form_of(**members)})
    rate, asked = {"schema": {"type": "integer", "default": 3}}, {"schema": TEXT}
    written["paths"]["/pets"]["post"]["requestBody"]["content"][MULTIPART]["encoding"] = {
        "tags": {"style": "pipeDelimited", "explode": False},
        "deep": {"style": "deepObject"},
        "file": {"headers": {"X-Rate": rate, "X-Asked": asked, "Content-Type": rate}},
    }
    seen = await sent(written, {"tags": ["a", "b"], "deep": {"x": {"y": 1}}, "file": "aGk="})
    assert [(name, content) for name, _, _, content in parts_of(seen)] == [
        ("tags", b"a|b"),
        ("deep[x][y]", b"1"),
        ("file", b"hi"),
    ]
    assert b"\r\nX-Rate: 3\r\n" in seen.body
    assert b"X-Asked" not in seen.body


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf"])
async def test_multipart_member_that_is_a_file_or_several_sends_files(keyword):
    either = {keyword: [{"type": "array", "items": FILE}, FILE, {"type": "null"}], "description": "Scans"}
    written = posting({MULTIPART: form_of(scans=either)}, "3.1.0")
    assert [part[3] for part in parts_of(await sent(written, {"scans": "aGk="}))] == [b"hi"]
    assert [part[3] for part in parts_of(await sent(written, {"scans": ["aGk=", "aG8="]}))] == [b"hi", b"ho"]
    assert properties(only_tool(written))["scans"]["description"] == "Scans"


async def test_multipart_part_without_a_type_is_a_file_since_3_1():
    assert parts_of(await sent(posting({MULTIPART: form_of(f={})}, "3.1.0"), {"f": "aGk="}))[0][3] == b"hi"
    assert parts_of(await sent(posting({MULTIPART: form_of(f={})}, "3.0.3"), {"f": "aGk="}))[0][3] == b"aGk="


@pytest.mark.parametrize("media_type", ["multipart/mixed", "multipart/related"])
async def test_multipart_of_another_kind_has_parts_without_names_in_the_order_of_the_schema(media_type):
    written = posting({media_type: form_of(meta={"type": "object"}, file=FILE)})
    seen = await sent(written, {"file": "data:image/png;base64,aGk=", "meta": {"a": 1}})
    assert seen.header("Content-Type").startswith(f"{media_type}; boundary=")
    assert [(kind, content) for _, _, kind, content in parts_of(seen)] == [
        ("application/json", b'{"a":1}'),
        ("image/png", b"hi"),
    ]
    assert b"form-data" not in seen.body


async def test_multipart_list_has_a_part_for_each_entry():
    content = {"itemSchema": {"type": "object"}, "itemEncoding": {"contentType": "application/vnd.x+json"}}
    seen = await sent(posting({"multipart/mixed": content}, "3.2.0"), {"body": [{"a": 1}, {"b": 2}]})
    assert [(kind, content) for _, _, kind, content in parts_of(seen)] == [
        ("application/vnd.x+json", b'{"a":1}'),
        ("application/vnd.x+json", b'{"b":2}'),
    ]


async def test_binary_body_of_any_type_is_sent_as_its_bytes():
    seen = await sent(posting({"*/*": {"schema": FILE}}), {"body": "aGk="})
    assert (seen.body, seen.header("Content-Type")) == (b"hi", "application/octet-stream")


@pytest.mark.parametrize(("kind", "sent_query"), [("application/json", "%7B%22a%22%3A1%7D"), ("text/plain", "x%26y")])
async def test_whole_query_of_3_2_is_sent_as_the_query(kind, sent_query):
    schema = {"type": "object"} if kind == "application/json" else TEXT
    whole = {"name": "all", "in": "querystring", "content": {kind: {"schema": schema}}}
    written = api({"/pets": {"get": operation(parameters=[whole])}}, "3.2.0")
    seen = await sent(written, {"all": {"a": 1} if kind == "application/json" else "x&y"})
    assert seen.target.partition("?")[2] == sent_query


async def test_cookie_style_of_3_2_encodes_only_what_a_cookie_may_not_hold():
    cookie = {"name": "c", "in": "cookie", "style": "cookie", "schema": TEXT}
    written = api({"/pets": {"get": operation(parameters=[cookie])}}, "3.2.0")
    assert (await sent(written, {"c": "a=b/c:d&e"})).header("Cookie") == "c=a=b/c:d&e"
    assert (await sent(written, {"c": "a; x=1\r\n%2C"})).header("Cookie") == "c=a%3B%20x=1%0D%0A%252C"
