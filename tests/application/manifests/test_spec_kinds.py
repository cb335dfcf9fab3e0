"""Where the credential of a ToolSet may go while its description is fetched, and what a bare description becomes."""

import pytest
from tests.application.catalogue.test_catalogue_loader import Specs

from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.manifests.parse import ManifestParts, parse_manifest
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.ports import ManifestDocument, SourceManifest, SpecCredential
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Authentication, SecretReference
from stoa.domain.origin import NamedOrigin

URL = "https://api.example/openapi.json"
SECRET = {"type": "bearer", "secretRef": {"name": "api"}}
BEARER = Authentication(type="bearer", secret=SecretReference(name="api"))


class Openapi(DocumentSpecKind):
    def __init__(self, member: str = "openAPISpec") -> None:
        super().__init__(member, None)

    def accepts(self, location, text):
        return text is not None and "openapi" in text


class Registered(SourceManifest):
    """A description at a registry, of a service that is called elsewhere."""

    url: str


class RegistryKind(Openapi):
    manifest = Registered


def kinds_of(*kinds, specs=None) -> SpecKinds:
    return SpecKinds(kinds or [Openapi()], specs or Specs())


@pytest.mark.parametrize(
    ("kind", "base_url", "is_shown"),
    [
        (Openapi(), None, True),
        (Openapi(), "https://api.example:443/v2", True),
        (Openapi(), "https://api.example:8443", False),
        (Openapi(), "http://api.example", False),
        (RegistryKind(), None, False),
        (RegistryKind(), "https://other.example", False),
        (RegistryKind(), "https://api.example", True),
    ],
)
async def test_description_is_fetched_with_the_credential_where_calls_go_to_the_same_origin(kind, base_url, is_shown):
    specs = Specs()
    specs.texts[URL] = "openapi"
    kinds = kinds_of(kind, specs=specs)
    spec = {"openAPISpec": {"url": URL}, "toolDefaults": {"authentication": SECRET}}
    content = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "a", "namespace": "acme"}}
    content["spec"] = spec | ({} if base_url is None else {"baseURL": base_url})
    document = ManifestDocument(NamedOrigin("a"), content)
    manifest = parse_manifest(content, ManifestParts(sources=kinds.models))
    place = kinds.place_of(document, manifest)
    assert (place.tenant, place.authentication, place.access) == ("acme", BEARER, None)
    await place.read(URL)
    assert specs.shown == [SpecCredential(BEARER, "acme") if is_shown else None]


@pytest.mark.parametrize(
    ("base_url", "is_shown"), [(None, True), ("https://api.example/v1", True), ("https://b.example", False)]
)
async def test_bare_description_is_recognised_with_the_credential_of_its_own_server(base_url, is_shown):
    specs = Specs()
    specs.texts[URL] = "openapi"
    found = await kinds_of(specs=specs).recognise(URL, base_url=base_url, authentication=BEARER)
    assert specs.shown == [SpecCredential(BEARER) if is_shown else None]
    content = found.tool_set("pets", base_url=base_url, authentication=[SECRET])
    manifest = parse_manifest(content)
    assert (manifest.tenant, manifest.source.address, manifest.spec.base_url) == (None, URL, base_url)
    assert manifest.spec.tool_defaults.authentication.to_domain() == BEARER


async def test_bare_description_that_two_kinds_take_is_refused():
    specs = Specs()
    specs.texts["a"] = "openapi"
    with pytest.raises(InvalidInput, match="a: may be openAPISpec and other; write a ToolSet that says which"):
        await kinds_of(Openapi(), Openapi("other"), specs=specs).recognise("a")


async def test_bare_description_that_is_a_manifest_is_refused_with_the_option_for_it():
    specs = Specs()
    specs.texts["tools.yaml"] = "apiVersion: gostoa.dev/v1alpha1\nkind: Tool"
    with pytest.raises(InvalidInput, match="is a manifest and no API description; name it with --catalogue"):
        await kinds_of(specs=specs).recognise("tools.yaml")


async def test_bare_description_of_no_kind_is_left_to_the_first_one_to_refuse():
    specs = Specs()
    specs.texts["a"] = "nonsense"
    assert (await kinds_of(specs=specs).recognise("a")).kind.member == "openAPISpec"
