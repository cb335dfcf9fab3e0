"""Manifests as a person would write them, for catalogues of gateways under test."""

from collections.abc import Mapping
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
