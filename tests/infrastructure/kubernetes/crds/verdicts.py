"""The verdicts of the gateway and of an API server about one manifest, and where they may differ."""

import asyncio
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from stoa.application.manifests.parse import ManifestParts, parse_manifest
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.kubernetes.crds import definitions
from stoa.interfaces.bootstrap import build_container, manifest_parts
from stoa.interfaces.settings import Settings

BEYOND_RULES = re.compile(
    r"^spec\.(?:"
    r"inputSchema|outputSchema|"  # JSON Schema, and its members, which rules cannot see
    r"graphQL\.(?:document|operationName|method)|"  # the text of a GraphQL document
    r"grpc\.(?:descriptorSet|method)|"  # the descriptors of Protocol Buffers
    r"(?:[^:]*\.)?answer\.projection:|"  # a JMESPath expression
    r"metering\.arguments|"  # has to be a property of inputSchema
    r"messages, spec\.arguments|"  # {{placeholders}} in texts of any length
    r"openAPISpec\.inline|graphQL\.(?:inline|queries|mutations|subscriptions)"  # alternatives, as no structural schema
    r")"
)
"""What the gateway refuses although an API server accepts it."""


NARROWER = re.compile(
    r"\.(?:refreshInterval|maxDuration|timeout|every): too long"  # digits that no author needs
    r"|\.clientSecretRef|\.tls: clientSecretRef"  # which the gateway refuses when it converts
    r"|\.endpoint: (?:should match|too long)"  # hosts that are no ASCII names, ports that are none
)
"""What an API server refuses although the gateway accepts it."""


RULED = {"openAPISpec", "graphQL", "grpc"}
"""Members of `spec` whose models state the rules of their validators. Those of other back ends have what their types
say; the gateway refuses the rest."""


@cache
def installed_parts() -> ManifestParts:
    """The members of `spec` of all back ends that are installed."""

    async def parts() -> ManifestParts:
        container = build_container(Settings(data_dir=Path(tempfile.mkdtemp())))
        try:
            return await manifest_parts(container)
        finally:
            await container.close()

    return asyncio.run(parts())


@cache
def installed_definitions() -> dict[str, dict[str, Any]]:
    """By kind."""
    return {one["spec"]["names"]["kind"]: one for one in definitions(installed_parts()).values()}


def refusal_of_the_gateway(manifest: dict[str, Any]) -> str | None:
    """None: accepted."""
    try:
        parse_manifest(manifest, installed_parts())
    except InvalidInput as refused:
        return refused.message
    return None


def is_narrower(problems: list[str]) -> bool:
    """True if an API server may be alone in refusing a manifest for one of these."""
    return any(NARROWER.search(problem) for problem in problems)


def is_beyond_rules(refusal: str) -> bool:
    """True if no part of the refusal could have been said by an API server."""
    parts = [part if part.startswith("spec.") else f"spec.{part}" for part in refusal.split("; spec.")]
    unruled = {*installed_parts().tools, *installed_parts().sources} - RULED
    return all(BEYOND_RULES.match(part) or re.split(r"[.:]", part)[1] in unruled for part in parts)
