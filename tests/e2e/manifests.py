"""Manifests as a person would write them, for catalogues of gateways under test."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.processes import GatewayProcess


def tool(name: str, endpoint: str, **spec: Any) -> dict[str, Any]:
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": {"name": name}}
    return {**manifest, "spec": {"endpoint": endpoint, "annotations": {"readOnlyHint": True}, **spec}}


def tool_set(name: str, openapi: str, base_url: str, **spec: Any) -> dict[str, Any]:
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": name}}
    return {**manifest, "spec": {"openAPISpec": {"url": openapi}, "baseURL": base_url, **spec}}


def write(gateway: GatewayProcess, file: str, *manifests: Mapping[str, Any]) -> Path:
    """Into the gateway's catalogue."""
    path = gateway.catalogue / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump_all(map(dict, manifests)), encoding="utf-8")
    return path


def owned(manifest: Mapping[str, Any], tenant: str) -> dict[str, Any]:
    """The same manifest as a tenant's own."""
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": f"tenant-{tenant}"}}


def describe(gateway: GatewayProcess, file: str, operations: Iterable[str]) -> None:
    """An OpenAPI document with these operations, each a GET; saved in one step, as most editors do."""
    answers = {"responses": {"200": {"description": "ok"}}}
    query = {"name": "q", "in": "query", "schema": {"type": "string"}}
    paths = {
        f"/{name}": {"get": {"operationId": name, "summary": f"About {name}", "parameters": [query], **answers}}
        for name in operations
    }
    document = {"openapi": "3.1.0", "info": {"title": "many", "version": "1"}, "paths": paths}
    draft = gateway.catalogue / f"{file}.draft"
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(gateway.catalogue / file)


THOUSAND = [f"operation_{number:04}" for number in range(1000)]


def write_thousand(gateway: GatewayProcess, base_url: str) -> None:
    """A catalogue of a thousand tools."""
    describe(gateway, "thousand.json", THOUSAND)
    write(gateway, "thousand.yaml", tool_set("thousand", "thousand.json", base_url))
