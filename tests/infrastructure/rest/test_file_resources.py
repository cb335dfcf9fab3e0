"""Files in arguments that are resources of the gateway: read as the caller, and only for file arguments."""

import pytest
from tests.infrastructure.openapi.documents import api, only_tool, operation
from tests.infrastructure.rest.loopback import answer, called, loopback, rest_backend

from stoa.application import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import InvalidArguments
from stoa.domain.operations.binding import StaticBinding, StaticResource
from stoa.domain.operations.resource import Resource
from stoa.infrastructure.rest import RestBackend

FILE = {"type": "string", "format": "binary"}
FORM = {"schema": {"type": "object", "properties": {"file": FILE, "note": {"type": "string"}}}}


def resource(uri, tenant, **content):
    content = StaticResource(uri=uri, **content)
    return Resource(uri=uri, name=uri.rpartition("/")[2], tenant=tenant, binding=StaticBinding(contents=(content,)))


def tool(url, media_type="multipart/form-data", content=None):
    body = {"required": True, "content": {media_type: content or FORM}}
    return only_tool(api({"/pets": {"post": operation(requestBody=body)}}), base_url=url)


async def sent(arguments, principal, **options):
    async with loopback(lambda _: answer()) as server:
        gateway = Gateway(backends=[RestBackend(InMemoryCredentialSource())])
        gateway.add(tool(server.url, **options))
        gateway.add(resource("stoa://files/a.csv", None, text="a,b", mime_type="text/csv"))
        gateway.add(resource("stoa://files/b.bin", TenantId("acme"), blob="iVBORw==", mime_type="image/png"))
        try:
            outcome = await gateway.invoke("act", arguments, principal)
        finally:
            await gateway.close()
        return outcome, server.seen


def someone(tenant):
    return Principal.of("ann", tenant=tenant, roles=["devops"])


async def test_file_resource_is_sent_with_its_type_and_name():
    _, seen = await sent({"file": "stoa://files/a.csv", "note": "stoa://files/a.csv"}, someone("acme"))
    assert b'name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\na,b' in seen[0].body
    assert b'name="note"\r\n\r\nstoa://files/a.csv' in seen[0].body


async def test_file_resource_may_be_a_whole_body():
    _, seen = await sent(
        {"body": "stoa://files/b.bin"}, someone("acme"), media_type="image/png", content={"schema": FILE}
    )
    assert seen[0].body == b"\x89PNG"


@pytest.mark.parametrize("uri", ["stoa://files/b.bin", "stoa://files/none"])
async def test_file_resource_that_the_caller_cannot_read_is_refused_and_nothing_is_sent(uri):
    outcome, seen = await sent({"file": uri}, someone("other"))
    assert outcome.result.is_error
    assert outcome.result.content[0].text.startswith(f"Unknown resource: {uri}")
    assert not seen


async def test_file_resource_without_a_gateway_is_refused():
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        with pytest.raises(InvalidArguments, match="a resource that you may read"):
            await called(backend, tool(server.url), file="stoa://files/a.csv")
