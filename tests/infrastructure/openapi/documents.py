"""Tiny OpenAPI documents for tests, and looking into what became of them."""

import json
from typing import Any

import jsonschema_rs

from stoa.application.ports import Conversion, ConversionOptions, SpecDocument
from stoa.domain.operations.tool import RestBinding, RestParameter, Tool
from stoa.infrastructure.openapi import OpenApiConverter

BASE = "https://api.example.com/v1"


def api(paths: dict[str, Any], version: str = "3.0.3", **rest: Any) -> dict[str, Any]:
    """A 3.x document with one server."""
    return {
        "openapi": version,
        "info": {"title": "Pets", "version": "1.2.0"},
        "servers": [{"url": BASE}],
        "paths": paths,
        **rest,
    }


def swagger(paths: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """A 2.0 document with a host."""
    info = {"title": "Pets", "version": "1.2.0"}
    return {"swagger": "2.0", "info": info, "host": "api.example.com", "basePath": "/v1", "paths": paths, **rest}


def operation(**content: Any) -> dict[str, Any]:
    return {"operationId": "act", "responses": {"200": {"description": "fine"}}, **content}


def with_parameters(*parameters: Any, path: str = "/pets", **rest: Any) -> dict[str, Any]:
    return api({path: {"get": operation(parameters=list(parameters))}}, **rest)


def with_body(schema: Any, media_type: str = "application/json", required: bool = True, **rest: Any) -> dict[str, Any]:
    content = {media_type: {"schema": schema}}
    return api({"/pets": {"post": operation(requestBody={"required": required, "content": content})}}, **rest)


def with_result(schema: Any, **rest: Any) -> dict[str, Any]:
    response = {"description": "fine", "content": {"application/json": {"schema": schema}}}
    return api({"/pets": {"get": operation(responses={"200": response})}}, **rest)


def convert(document: Any, location: str = "pets.yaml", **options: Any) -> Conversion:
    text = document if isinstance(document, str) else json.dumps(document)
    return OpenApiConverter().convert(SpecDocument(location, text), ConversionOptions(**options))


def only_tool(document: Any, **options: Any) -> Tool:
    (tool,) = convert(document, **options).tools
    return tool


def binding(tool: Tool) -> RestBinding:
    assert isinstance(tool.binding, RestBinding)
    return tool.binding


def parameter(tool: Tool, name: str) -> RestParameter:
    (found,) = (p for p in binding(tool).parameters if p.name == name)
    return found


def properties(tool: Tool) -> dict[str, Any]:
    return tool.input_schema["properties"]


def accepts(tool: Tool, arguments: dict[str, Any]) -> bool:
    return jsonschema_rs.validator_for(tool.input_schema, offline=True).is_valid(arguments)


def messages(conversion: Conversion) -> str:
    return "\n".join(str(finding) for finding in conversion.findings)
