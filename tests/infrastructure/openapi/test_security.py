"""Security schemes and the gateway's credentials: what each request carries, and what no model is asked for."""

import pytest
import yarl
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    convert,
    messages,
    only_tool,
    operation,
    properties,
    swagger,
)
from tests.infrastructure.rest.loopback import answer, called, loopback, rest_backend

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Authentication, SecretReference

TEXT = {"type": "string"}
KEY = {"type": "apiKey", "in": "query", "name": "appid"}
APP = {"type": "apiKey", "in": "header", "name": "X-App-Id"}
SESSION = {"type": "apiKey", "in": "cookie", "name": "sid"}
SCHEMES = {"key": KEY, "app": APP, "session": SESSION, "user": {"type": "http", "scheme": "basic"}}
TOKENS = {"token": {"type": "http", "scheme": "bearer"}, "login": {"type": "oauth2", "flows": {}}}


def document(security, schemes=None, /, **content):
    components = {"securitySchemes": {**SCHEMES, **TOKENS} if schemes is None else schemes}
    return api({"/pets": {"post": operation(**content)}}, security=security, components=components)


def held(*schemes):
    first, *also = (Authentication(scheme=name, secret=SecretReference(name=name)) for name in schemes)
    return first.model_copy(update={"also": tuple(also)})


async def sent(written, *schemes, **arguments):
    credentials = InMemoryCredentialSource()
    for name in schemes:
        entries = {"apiKey": f"{name}-secret", "token": f"{name}-token", "username": "ann", "password": "pw"}
        credentials.put(TenantId("acme"), name, entries)
    async with loopback(lambda _: answer()) as server, rest_backend(credentials) as backend:
        tool = only_tool(written, base_url=server.url, authentication=held(*schemes), tenant=TenantId("acme"))
        await called(backend, tool, **arguments)
        return server.seen[0]


async def test_security_with_two_keys_at_once_sends_both_where_the_description_says():
    seen = await sent(document([{"key": [], "app": []}]), "key", "app")
    assert yarl.URL(seen.target).query == {"appid": "key-secret"}
    assert seen.header("X-App-Id") == "app-secret"


async def test_security_with_a_cookie_and_basic_sends_both():
    seen = await sent(document([{"session": [], "user": []}]), "session", "user")
    assert seen.header("Cookie") == "sid=session-secret"
    assert seen.header("Authorization") == "Basic YW5uOnB3"


@pytest.mark.parametrize("scheme", ["token", "login"])
async def test_security_by_bearer_or_oauth2_sends_the_token(scheme):
    assert (await sent(document([{scheme: []}]), scheme)).header("Authorization") == f"Bearer {scheme}-token"


async def test_security_alternatives_send_the_first_that_the_gateway_can_satisfy():
    seen = await sent(document([{"key": [], "app": []}, {"token": []}, {"session": []}]), "session", "token")
    assert seen.header("Authorization") == "Bearer token-token"
    assert seen.header("Cookie") is None


async def test_security_of_an_operation_wins_over_that_of_the_document():
    seen = await sent(document([{"key": []}], security=[{"app": []}]), "key", "app")
    assert (seen.target, seen.header("X-App-Id")) == ("/pets", "app-secret")


async def test_security_definitions_of_version_2_are_read():
    written = swagger(
        {"/pets": {"post": operation(security=[{"u": []}, {"k": []}])}},
        securityDefinitions={"k": {"type": "apiKey", "in": "query", "name": "k"}, "u": {"type": "basic"}},
    )
    assert (await sent(written, "k")).target == "/pets?k=k-secret"
    assert (await sent(written, "u")).header("Authorization") == "Basic YW5uOnB3"


def test_security_credential_without_a_scheme_is_recognised_by_its_place():
    own = Authentication(type="apiKey", secret=SecretReference(name="s"), location="query", parameter_name="appid")
    conversion = convert(document([{"app": []}, {"key": []}]), authentication=own)
    assert not conversion.findings
    assert conversion.tools[0].authentication == own


def test_security_scheme_that_the_description_does_not_have_refuses_the_set():
    with pytest.raises(InvalidInput, match=r"no security scheme 'none'.*the description has app, key"):
        convert(document([]), authentication=held("none"))


def test_security_that_the_gateway_cannot_meet_is_one_finding_with_its_place():
    paths = {f"/{n}": {"get": operation(operationId=f"o{n}")} for n in range(3)}
    written = api(
        paths, security=[{"key": [], "app": []}, {"token": []}], components={"securitySchemes": {**SCHEMES, **TOKENS}}
    )
    (finding,) = convert(written).findings
    assert finding.message.startswith(
        "3 operations need key (apiKey, query appid) and app (apiKey, header X-App-Id) or token (bearer)"
    )
    assert finding.pointer == "/components/securitySchemes/key"


@pytest.mark.parametrize("security", [[], [{}], [{}, {"key": []}], None])
def test_security_that_nothing_needs_is_no_finding(security):
    assert not convert(document(security)).findings


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
def test_parameter_that_carries_a_credential_is_no_argument(place):
    name = "x-app-id" if place == "header" else "appid"
    schemes = {"k": {"type": "apiKey", "in": place, "name": "X-App-Id" if place == "header" else "appid"}}
    written = document([{"k": []}], schemes, parameters=[{"name": name, "in": place, "schema": TEXT}])
    assert properties(only_tool(written)) == {}
    written["paths"]["/pets"]["post"]["parameters"][0]["required"] = True
    assert properties(only_tool(written, authentication=held("k"))) == {}
    assert list(properties(only_tool(written))) == [name]  # the API cannot be called without it


PLAID = {"clientId": {**APP, "name": "PLAID-CLIENT-ID"}, "secret": {**APP, "name": "PLAID-SECRET"}}


@pytest.mark.parametrize("more", [{}, {"additionalProperties": True}])
@pytest.mark.parametrize("authentication", [Authentication(), held("clientId", "secret")])
def test_body_members_that_carry_a_credential_are_no_arguments(more, authentication):
    schema = {
        "type": "object",
        "properties": {"client_id": TEXT, "secret": TEXT, "count": TEXT},
        "required": ["count"],
        **more,
    }
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}
    written = document([{"clientId": [], "secret": []}], PLAID, requestBody=body)
    written["components"]["schemas"] = {"Body": schema}
    conversion = convert(written, authentication=authentication)
    (tool,) = conversion.tools
    assert "client_id" not in str(tool.input_schema)
    assert "secret" not in str(tool.input_schema)
    assert "the credential 'secret'" in messages(conversion)
    assert accepts(tool, {"body": {"count": "1"}} if more else {"count": "1"})


def test_body_member_that_is_required_or_belongs_to_no_scheme_stays_an_argument():
    schema = {"type": "object", "properties": {"secret": TEXT, "key": TEXT}, "required": ["secret"]}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    assert list(properties(only_tool(document([{"secret": []}], PLAID, requestBody=body)))) == ["secret", "key"]
