"""Descriptions in several files: what is read, from where, and what becomes of references between files."""

import json
from pathlib import Path

import pytest
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    binding,
    convert,
    messages,
    only_tool,
    operation,
    parameter,
)

from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import ConversionOptions, SpecPlace
from stoa.application.ports.manifest_parts import DocumentSourceManifest
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.origin import NamedOrigin
from stoa.infrastructure.files.specs import FileSpecSource, description_in
from stoa.infrastructure.openapi import OpenApiConverter, OpenApiSpecKind
from stoa.infrastructure.openapi.files import FILES_LIMIT, REMOTE_FILES_LIMIT

FILTER = {"name": "tag_name", "in": "query", "required": True, "schema": {"type": "string"}}


def text_of(content):
    return content if isinstance(content, str) else json.dumps(content)


async def fetched(source, address, folder=None):
    place = SpecPlace(NamedOrigin("m.yaml"), source.fetch, folder=folder)
    return await OpenApiSpecKind().fetch(DocumentSourceManifest(url=address), place)


async def converted(source, address, folder=None):
    document = await fetched(source, address, folder)
    return OpenApiConverter().convert(document, ConversionOptions(base_url="http://127.0.0.1:1"))


async def in_memory(documents, address="api/openapi.yaml"):
    return await converted(InMemorySpecSource({name: text_of(text) for name, text in documents.items()}), address)


def write(folder: Path, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(content))


@pytest.mark.parametrize("method", ["delete", "post", "get"])
@pytest.mark.parametrize("reference", ["ops/delete_by_tag.yml", "#/components/x/none", "https://a.example/op.yml"])
def test_operation_behind_a_reference_that_leads_nowhere_is_left_out_with_a_finding(method, reference):
    conversion = convert(api({"/tags": {method: {"$ref": reference}}, "/pets": {"get": operation()}}))
    assert [tool.name for tool in conversion.tools] == ["act"]
    assert f"error: pets.yaml {method.upper()} /tags" in messages(conversion)
    assert "left out" in messages(conversion)


def test_operation_behind_a_reference_within_the_document_keeps_its_parameters():
    document = api(
        {"/tags": {"delete": {"$ref": "#/x-operations/a~1b"}}},
        **{"x-operations": {"a/b": operation(parameters=[FILTER])}},
    )
    tool = only_tool(document)
    assert binding(tool).method == "DELETE"
    assert tool.input_schema["required"] == ["tag_name"]


def test_operation_that_changes_something_is_left_out_when_a_parameter_leads_nowhere():
    conversion = convert(api({"/tags": {"delete": operation(parameters=[{"$ref": "filter.yml"}])}}))
    assert not conversion.tools
    assert "a parameter is unknown" in messages(conversion)


async def test_operation_in_a_file_beside_the_document_keeps_its_parameters():
    conversion = await in_memory(
        {
            "api/openapi.yaml": api({"/tags": {"delete": {"$ref": "ops/delete_by_tag.yml"}}}),
            "api/ops/delete_by_tag.yml": operation(parameters=[FILTER]),
        }
    )
    (tool,) = conversion.tools
    assert tool.input_schema["required"] == ["tag_name"]
    assert not conversion.findings


async def test_files_refer_to_each_other_in_circles_and_back_to_the_document():
    conversion = await in_memory(
        {
            "api/openapi.yaml": """
openapi: 3.0.3
info: {title: Pets, version: 1}
paths: {$ref: paths/_index.yaml}
components:
  parameters: {Limit: {name: limit, in: query, schema: {type: integer}}}
  schemas: {$ref: "schemas/all.yaml"}
""",
            "api/paths/_index.yaml": "/pets: {$ref: 'pets.yaml'}\n",
            "api/paths/pets.yaml": """
parameters: [{$ref: ../openapi.yaml#/components/parameters/Limit}]
post:
  requestBody:
    required: true
    content: {application/json: {schema: {$ref: "../openapi.yaml#/components/schemas/Pet"}}}
""",
            "api/schemas/all.yaml": "Pet: {$ref: pet.yaml}\n",
            "api/schemas/pet.yaml": "type: object\nrequired: [name]\nproperties:\n  name: {type: string}\n"
            "  friend: {$ref: './pet.yaml'}\n  home: {$ref: '#/x-home'}\nx-home: {type: integer}\n",
        }
    )
    (tool,) = conversion.tools
    assert accepts(tool, {"limit": 1, "name": "Rex", "friend": {"name": "Tom", "home": 1}})
    assert not accepts(tool, {"name": "Rex", "friend": {"home": 1}})
    assert not accepts(tool, {"name": "Rex", "home": "x"})
    assert not conversion.findings


async def test_fragment_may_refer_to_components_as_if_it_stood_in_the_document():
    conversion = await in_memory(
        {
            "api/openapi.yaml": api({"/a": {"$ref": "a.yaml"}}, components={"parameters": {"Filter": FILTER}}),
            "api/a.yaml": {"delete": operation(parameters=[{"$ref": "#/components/parameters/Filter"}])},
        }
    )
    assert parameter(conversion.tools[0], "tag_name").location == "query"


async def test_pointer_escapes_and_encodings_lead_into_files():
    conversion = await in_memory(
        {
            "api/openapi.yaml": api({"/a": {"$ref": "more%20paths.json#/paths/~1a~01%7Bid%7D"}}),
            "api/more paths.json": {"paths": {"/a~1{id}": {"get": operation()}}},
        }
    )
    assert [tool.name for tool in conversion.tools] == ["act"]


@pytest.mark.parametrize(
    "reference", ["../outside.yml", "/etc/hostname", "ops/../../outside.yml", "%2e%2e/outside.yml"]
)
async def test_files_outside_the_folder_of_the_document_are_not_read(tmp_path, reference):
    write(tmp_path, {"outside.yml": operation(), "api/openapi.yaml": api({"/a": {"delete": {"$ref": reference}}})})
    conversion = await converted(FileSpecSource(), str(tmp_path / "api/openapi.yaml"))
    assert not conversion.tools
    assert "is outside this document" in messages(conversion)


async def test_files_are_not_read_through_a_link_out_of_the_folder(tmp_path):
    write(tmp_path, {"outside.yml": operation(), "api/openapi.yaml": api({"/a": {"delete": {"$ref": "link.yml"}}})})
    (tmp_path / "api/link.yml").symlink_to(tmp_path / "outside.yml")
    conversion = await converted(FileSpecSource(), str(tmp_path / "api/openapi.yaml"))
    assert not conversion.tools
    assert "lies outside" in messages(conversion)


async def test_folder_that_a_person_named_bounds_the_files(tmp_path):
    write(
        tmp_path,
        {"v1/openapi.yaml": api({"/a": {"$ref": "../shared/a.yml"}}), "shared/a.yml": {"get": operation()}},
    )
    address = description_in(tmp_path)
    conversion = await converted(FileSpecSource(), address, str(tmp_path))
    assert [tool.name for tool in conversion.tools] == ["act"]
    assert not (await converted(FileSpecSource(), address)).tools


async def test_file_that_is_missing_or_unreadable_costs_only_what_refers_to_it():
    conversion = await in_memory(
        {
            "api/openapi.yaml": api(
                {"/a": {"$ref": "a.yml"}, "/b": {"$ref": "b.yml"}, "/c": {"get": operation()}},
            ),
            "api/b.yml": "get: {a: [",
        }
    )
    assert [tool.name for tool in conversion.tools] == ["act"]
    assert "'a.yml' cannot be used: api/a.yml: no document" in messages(conversion)
    assert "'b.yml' cannot be used: line 1: not readable as YAML" in messages(conversion)


async def test_remote_files_are_read_below_the_url_of_the_document():
    remote = {
        "https://a.example/v1/openapi.json?key=1": api(
            {
                "/a": {"$ref": "paths/a.json#/item"},
                "/b": {"$ref": "https://a.example/v1/b.json"},
                "/c": {"$ref": "/c.json"},
            }
        ),
        "https://a.example/v1/paths/a.json": {"item": {"get": operation()}},
        "https://a.example/v1/b.json": {"post": operation()},
        "https://a.example/c.json": {"delete": operation()},
    }
    conversion = await in_memory(remote, "https://a.example/v1/openapi.json?key=1")
    assert [binding(tool).method for tool in conversion.tools] == ["GET", "POST"]


class Away(InMemorySpecSource):
    async def fetch(self, location, *, root="", credential=None):
        if location.endswith("a.yml"):
            raise Unavailable(f"{location}: the server answered 503")
        return await super().fetch(location, root=root, credential=credential)


async def test_file_that_cannot_be_reached_now_puts_the_whole_description_off():
    with pytest.raises(Unavailable):
        await fetched(Away({"api/o.yml": json.dumps(api({"/a": {"$ref": "a.yml"}}))}), "api/o.yml")


class Endless(InMemorySpecSource):
    """Each file names two more."""

    def __init__(self):
        super().__init__()
        self.read = 0

    async def fetch(self, location, *, root="", credential=None):
        self.read += 1
        self.put(location, json.dumps(api({"/a": {"$ref": f"{self.read}a.yml"}, "/b": {"$ref": f"{self.read}b.yml"}})))
        return await super().fetch(location)


@pytest.mark.parametrize(
    ("address", "limit"), [("api/o.yml", FILES_LIMIT), ("https://a.example/o.yml", REMOTE_FILES_LIMIT)]
)
async def test_number_of_files_is_bounded(address, limit):
    source = Endless()
    document = await fetched(source, address)
    assert limit <= len(document.files) <= limit + 1
    assert source.read <= limit + 10
    assert "may have" in document.files[-1].problem


class Chain(InMemorySpecSource):
    """Each file names the next."""

    async def fetch(self, location, *, root="", credential=None):
        number = int(location.rpartition("/")[2].removesuffix(".yml"))
        self.put(location, json.dumps({"$ref": f"{number + 1}.yml"}))
        return await super().fetch(location)


async def test_chain_of_files_is_bounded():
    document = await fetched(Chain(), "api/0.yml")
    assert len(document.files) == 51
    assert "files away" in document.files[-1].problem


def test_folder_gives_the_nearest_description_and_the_one_with_a_usual_name(tmp_path):
    write(
        tmp_path,
        {"paths/a.yaml": "get: {}", "spec/openapi.yaml": "openapi: 3.0.0", "spec/other.yaml": "swagger: '2.0'"},
    )
    assert description_in(tmp_path) == str(tmp_path / "spec/openapi.yaml")
    write(tmp_path, {"spec/swagger.yaml": "swagger: '2.0'"})
    with pytest.raises(InvalidInput, match="one of its API descriptions"):
        description_in(tmp_path)
    with pytest.raises(InvalidInput, match="without an API description"):
        description_in(tmp_path / "paths")


async def test_description_in_several_files_changes_when_one_of_them_changes():
    documents = {"api/o.yml": json.dumps(api({"/a": {"$ref": "a.yml"}})), "api/a.yml": "get: {}"}
    source = InMemorySpecSource(documents)
    before = await fetched(source, "api/o.yml")
    assert await fetched(source, "api/o.yml") == before
    source.put("api/a.yml", "post: {}")
    assert await fetched(source, "api/o.yml") != before


def test_schema_named_by_a_file_keeps_the_name_of_the_file():
    from stoa.infrastructure.openapi.joined_files import own_name, shown_pointer

    assert own_name("#/x-stoa-files/schemas~1Pet.v1.yaml") == "Pet.v1"
    assert own_name("#/components/schemas/Pet") == "Pet"
    assert shown_pointer("#/x-stoa-files/schemas~1all.yaml/Pet") == "schemas/all.yaml#/Pet"


def test_folder_with_a_file_of_parts_has_its_description_below_it(tmp_path):
    (tmp_path / "_parameters.yaml").write_text("openapi: 3.1.0\ncomponents: {parameters: {}}\n")
    (tmp_path / "spec").mkdir()
    (tmp_path / "spec" / "pets.json").write_text(json.dumps(api({})))
    assert description_in(tmp_path) == str(tmp_path / "spec/pets.json")
