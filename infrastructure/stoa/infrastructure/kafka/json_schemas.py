"""JSON Schemas of AsyncAPI documents (draft 7 and AsyncAPI's form) as 2020-12, with what they refer to in `$defs`."""

import re
from typing import Any

import jsonschema_rs
import pydantic_core

from stoa.domain.schema.json_pointer import pointer_to
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.subschemas import DATA, MAPS, with_subschemas
from stoa.infrastructure.kafka.asyncapi import AsyncApiDocument
from stoa.infrastructure.kafka.tool_schemas import PartSchema

SIZE_LIMIT = 48 * 1024
"""Characters of the schema of one part, with its definitions."""
MAX_DEPTH = 60
_LEFT_OUT = {"$schema", "$id", "id", "discriminator", "externalDocs", "xml", "definitions", "$defs", "nullable"}
_NOTES = {"title", "description", "default", "examples", "deprecated"}
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


class CannotDescribe(ValueError):
    """The schema cannot be used; the text says why."""


class SchemaWriter:
    """Of one document. `prefix` of each call keeps definitions of key, value and reply apart."""

    def __init__(self, document: AsyncApiDocument) -> None:
        self._document = document

    def part(self, schema: Any, prefix: str) -> PartSchema:
        """Raises CannotDescribe."""
        if schema is None or schema is True:
            return PartSchema({})
        definitions: JsonObject = {}
        names: dict[str, str] = {}
        written = self._schema(schema, prefix, names, definitions, 0)
        part = PartSchema(written if is_object(written) else {"not": {}}, definitions)
        whole = {**part.schema, "$defs": definitions}
        if len(pydantic_core.to_json(whole)) > SIZE_LIMIT:
            raise CannotDescribe(f"it is larger than {SIZE_LIMIT // 1024} KB")
        try:
            jsonschema_rs.validator_for(whole, offline=True)
        except jsonschema_rs.ValidationError as problem:
            place = pointer_to(map(str, problem.instance_path))
            raise CannotDescribe(f"it is no valid JSON Schema: {problem.message[:200]} (at {place[:200]})") from None
        except (jsonschema_rs.ReferencingError, ValueError):
            raise CannotDescribe("it is no valid JSON Schema") from None
        return part

    def _schema(self, schema: Any, prefix: str, names: dict[str, str], definitions: JsonObject, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CannotDescribe(f"it nests deeper than {MAX_DEPTH} levels")
        if not is_object(schema):
            return schema
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referred(schema, reference, prefix, names, definitions, depth)
        is_multi_format = "schemaFormat" in schema and "schema" in schema
        if is_multi_format:
            return self._schema(schema["schema"], prefix, names, definitions, depth + 1)

        def inner(part: Any) -> Any:
            return self._schema(part, prefix, names, definitions, depth + 1)

        written: JsonObject = {}
        for keyword, value in schema.items():
            if keyword in _LEFT_OUT or keyword.startswith("x-"):
                continue
            if keyword == "oneOf" and "discriminator" in schema and "anyOf" not in schema:
                # Only the discriminator tells subtypes apart: as schemas several of them fit one value.
                written["anyOf"] = with_subschemas(keyword, value, inner)
            elif keyword == "allOf" and is_array(value):
                written["allOf"] = [self._of_all(part, prefix, names, definitions, depth + 1) for part in value]
            elif keyword in DATA:
                written[keyword] = value
            elif keyword in MAPS and not is_object(value):
                continue
            else:
                written[keyword] = with_subschemas(keyword, value, inner)
        return _nullable(_newer(written), schema)

    def _of_all(self, part: Any, prefix: str, names: dict[str, str], definitions: JsonObject, depth: int) -> Any:
        """A part of `allOf`. A subtype refers to its base, which names its subtypes: the base alone is meant, because
        with them nothing would satisfy either."""
        reference = as_object(part).get("$ref")
        target = as_object(self._document.target(reference)) if isinstance(reference, str) else {}
        if isinstance(reference, str) and "discriminator" in target and ("oneOf" in target or "anyOf" in target):
            return self._referred(part, reference, prefix, names, definitions, depth, is_alone=True)
        return self._schema(part, prefix, names, definitions, depth)

    def _referred(
        self,
        schema: JsonObject,
        reference: str,
        prefix: str,
        names: dict[str, str],
        definitions: JsonObject,
        depth: int,
        *,
        is_alone: bool = False,
    ) -> JsonObject:
        """Beside a reference only notes count, as in draft 7. `is_alone`: without the subtypes that it names."""
        key = f"{reference} alone" if is_alone else reference
        if key not in names:
            target = self._document.target(reference)
            if target is None:
                where = "is not in the document" if reference.startswith("#") else "is elsewhere, and is not fetched"
                raise CannotDescribe(f"{reference[:200]} {where}")
            if is_alone:
                target = {keyword: value for keyword, value in target.items() if keyword not in {"oneOf", "anyOf"}}
            last = _NAME.sub("_", reference.rpartition("/")[2])[-60:] or "schema"
            name = f"{prefix}.{last}"
            while name in definitions:
                name += "_"
            names[key] = name
            definitions[name] = {}
            definitions[name] = self._schema(target, prefix, names, definitions, depth + 1)
        notes = {key: value for key, value in schema.items() if key in _NOTES}
        return {"$ref": f"#/$defs/{names[key]}", **notes}


def _newer(schema: JsonObject) -> JsonObject:
    """Keywords of draft 7 and before as 2020-12 has them."""
    items = schema.get("items")
    if is_array(items):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
    schema.pop("additionalItems", None)
    dependencies = as_object(schema.pop("dependencies", None))
    for name, value in dependencies.items():
        keyword = "dependentRequired" if is_array(value) else "dependentSchemas"
        schema.setdefault(keyword, {})[name] = value
    if "example" in schema:
        schema.setdefault("examples", [schema.pop("example")])
    if "examples" in schema and not is_array(schema["examples"]):
        del schema["examples"]
    for limit, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(limit), bool) and schema.pop(limit) and bound in schema:
            schema[limit] = schema.pop(bound)
    if isinstance(schema.get("required"), bool):
        del schema["required"]
    return schema


def _nullable(written: JsonObject, schema: JsonObject) -> JsonObject:
    """OpenAPI 3.0's `nullable`."""
    if schema.get("nullable") is not True:
        return written
    kind = written.get("type")
    if isinstance(kind, str):
        written["type"] = [kind, "null"]
        if is_array(written.get("enum")) and None not in written["enum"]:
            written["enum"] = [*written["enum"], None]
    return written
