"""Secrets that objects of a cluster name, and that cannot be read."""

from datetime import UTC, datetime

import pytest
from tests.application.catalogue.test_catalogue_loader import rest_tool

from stoa.application.catalogue.loaded_manifest import LoadedManifest
from stoa.application.catalogue.missing_credentials import MissingCredentials
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Reason, Severity
from stoa.domain.operations.argument_changes import ArgumentChanges, FixedBySecret
from stoa.domain.operations.tool import Authentication, SecretReference, Tool
from stoa.domain.origin import FileOrigin, ObjectOrigin, Origin

ACME = TenantId("acme")
KEY = SecretReference(name="key")
TOOL = ObjectOrigin("Tool", "tenant-acme", "ant")


def keyed(authentication: Authentication, **changes: object) -> Tool:
    return rest_tool("ant", ACME).model_copy(update={"authentication": authentication, **changes})


def loaded(origin: Origin, *operations: Tool) -> dict[Origin, LoadedManifest]:
    return {origin: LoadedManifest(ManifestDocument(origin, {}), operations, (), datetime(2026, 1, 1, tzinfo=UTC))}


async def messages(credentials: InMemoryCredentialSource, manifests: dict[Origin, LoadedManifest]) -> list[str]:
    findings = await MissingCredentials(credentials).findings(manifests)
    assert {(one.severity, one.reason) for one in findings} <= {(Severity.ERROR, Reason.REFERENCE)}
    return [one.message for one in findings]


@pytest.mark.parametrize(
    ("authentication", "entries"),
    [
        (Authentication(type="bearer", secret=KEY), ["token"]),
        (Authentication(type="bearer", secret=SecretReference(name="key", key="jwt")), ["jwt"]),
        (Authentication(type="basic", secret=KEY), ["username", "password"]),
        (Authentication(type="apiKey", secret=KEY), ["apiKey"]),
        (Authentication(type="oauth2", secret=KEY), ["clientId", "clientSecret"]),
    ],
)
async def test_missing_credentials_are_told_by_their_first_entry_that_is_not_there(
    authentication: Authentication, entries: list[str]
) -> None:
    credentials = InMemoryCredentialSource()
    given: dict[str, str] = {}
    for entry in entries:
        (message,) = await messages(credentials, loaded(TOOL, keyed(authentication)))
        assert message.startswith("spec.authentication.secretRef: ")
        assert entry in message
        given[entry] = "s3cret"
        credentials.put(ACME, "key", given)
    assert await messages(credentials, loaded(TOOL, keyed(authentication))) == []


async def test_missing_credentials_of_a_tool_set_and_of_a_fixed_argument_name_their_field() -> None:
    tool_set = ObjectOrigin("ToolSet", "tenant-acme", "ants")
    (message,) = await messages(
        InMemoryCredentialSource(), loaded(tool_set, keyed(Authentication(type="bearer", secret=KEY)))
    )
    assert message.startswith("spec.toolDefaults.authentication.secretRef: ")
    changes = ArgumentChanges(fixed={"key": FixedBySecret(secret=KEY)})
    fixed = keyed(Authentication(), argument_changes=changes)
    (message,) = await messages(InMemoryCredentialSource(), loaded(tool_set, fixed))
    assert message.startswith("spec.overrides arguments.key: ")


async def test_missing_credentials_are_no_finding_of_files_and_of_what_is_disabled() -> None:
    bearer = Authentication(type="bearer", secret=KEY)
    assert await messages(InMemoryCredentialSource(), loaded(FileOrigin("a.yaml", 1), keyed(bearer))) == []
    assert await messages(InMemoryCredentialSource(), loaded(TOOL, keyed(bearer, enabled=False))) == []
