"""What only fetching over HTTP can show: which hosts are asked, and what becomes of every kind of answer."""

import asyncio
import gzip
import traceback
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest
from tests.application.upstream import Tokens, oauth_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import SpecCredential
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput, StoaError, Unavailable
from stoa.domain.operations.tool import Authentication
from stoa.infrastructure.http_client import ANYWHERE
from stoa.infrastructure.http_client.spec_source import HttpSpecSource, translated

PUBLIC = "203.0.114.7"


def resolving(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(_host: str) -> list[str]:
        return list(addresses)

    return resolve


class Server:
    """Answers what `answered` says and remembers the requests."""

    def __init__(self, answered: Callable[[httpx.Request], httpx.Response]) -> None:
        self.requests: list[httpx.Request] = []
        self._answered = answered

    def source(self, *addresses: str, **options: object) -> HttpSpecSource:
        return HttpSpecSource(
            transport=httpx.MockTransport(self._serve), resolve=resolving(*(addresses or (PUBLIC,))), **options
        )

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answered(request)


def ok(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="openapi: 3.1.0")


@pytest.mark.parametrize(
    "url", ["https://specs.test/a?b=c", "https://specs.test:8443/a?b=c", "http://specs.test/a?b=c"]
)
async def test_the_request_goes_to_the_checked_address_under_the_name_of_the_host(url):
    server = Server(ok)

    assert (await server.source().fetch(url)).text == "openapi: 3.1.0"

    (request,) = server.requests
    asked = httpx.URL(url)
    assert request.url == asked.copy_with(host=PUBLIC)
    assert request.headers["Host"] == asked.netloc.decode()
    assert request.extensions["sni_hostname"] == "specs.test"
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "::1", "fc00::1"]
DISGUISED = ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
NEVER = ["0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "::ffff:169.254.169.254"]


@pytest.mark.parametrize("address", PRIVATE + DISGUISED + NEVER)
async def test_a_host_in_a_private_network_is_refused_before_anything_is_sent(address):
    server = Server(ok)

    with pytest.raises(InvalidInput, match=r"https://specs\.test/a"):
        await server.source(PUBLIC, address).fetch("https://specs.test/a")
    assert server.requests == []


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_networks_can_be_allowed(address):
    assert await Server(ok).source(address, rules=ANYWHERE).fetch("http://specs.test/a")


@pytest.mark.parametrize("address", NEVER)
async def test_link_local_addresses_are_never_asked(address):
    with pytest.raises(InvalidInput, match="must not be fetched"):
        await Server(ok).source(address, rules=ANYWHERE).fetch("http://specs.test/a")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1"])
async def test_however_loopback_is_written_it_is_refused(host):
    with pytest.raises((InvalidInput, Unavailable)):
        await HttpSpecSource(transport=httpx.MockTransport(ok)).fetch(f"http://{host}/a")


async def test_the_next_address_is_tried_when_one_refuses_the_connection():
    def answered(request: httpx.Request) -> httpx.Response:
        if request.url.host == PUBLIC:
            raise httpx.ConnectError("refused")
        return ok(request)

    assert await Server(answered).source(PUBLIC, "2606:4700::1").fetch("https://specs.test/a")


async def test_a_name_that_does_not_resolve_is_unavailable():
    async def resolve(_host: str) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(Unavailable, match="does not resolve"):
        await HttpSpecSource(resolve=resolve).fetch("https://specs.test/a")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, InvalidInput) for status in (204, 304, 400, 401, 404)),
        *((status, Unavailable) for status in (408, 429, 500, 503)),
    ],
)
async def test_other_answers_are_named_by_status_only(status, kind):
    server = Server(lambda _: httpx.Response(status, text="foreign text"))

    with pytest.raises(kind, match=f"https://specs.test/a.*{status}") as caught:
        await server.source().fetch("https://specs.test/a")
    assert "foreign text" not in caught.value.message


def redirecting(*targets: str) -> Callable[[httpx.Request], httpx.Response]:
    left: Iterator[str] = iter(targets)

    def answered(request: httpx.Request) -> httpx.Response:
        target = next(left, None)
        return ok(request) if target is None else httpx.Response(302, headers={"Location": target})

    return answered


@pytest.mark.parametrize("targets", [["/b"], ["b", "c", "d"], ["http://specs.test/b"], ["https://specs.test/b"]])
async def test_redirects_on_the_same_host_are_followed_to_the_same_address(targets):
    server = Server(redirecting(*targets))

    assert (await server.source().fetch("http://specs.test/a")).location == "http://specs.test/a"
    assert {request.url.host for request in server.requests} == {PUBLIC}
    assert {request.headers["Host"] for request in server.requests} == {"specs.test"}


@pytest.mark.parametrize(
    "target",
    [
        "https://other.test/a",
        "//other.test/a",
        "http://specs.test/a",
        "https://specs.test:22/a",
        "https://u:p@specs.test/a",
        "ftp://specs.test/a",
        "http://127.0.0.1/a",
        "https://[/",
    ],
)
async def test_other_redirects_are_refused_without_naming_where_they_lead(target):
    server = Server(redirecting(target))

    with pytest.raises(InvalidInput, match=r"https://specs\.test/a: redirects to") as caught:
        await server.source().fetch("https://specs.test/a")
    assert len(server.requests) == 1
    assert "other.test" not in caught.value.message


async def test_more_than_three_redirects_are_refused():
    with pytest.raises(InvalidInput, match="more than 3 redirects"):
        await Server(redirecting(*"bcde")).source().fetch("https://specs.test/a")


@pytest.mark.parametrize(
    "url", ["https://ann:s3cret@specs.test/a", "https://s3cret@specs.test/a", "ftp://ann:s3cret@h/a"]
)
async def test_a_url_with_a_password_is_refused_without_showing_it(url):
    server = Server(ok)

    with pytest.raises(InvalidInput, match="user or password") as caught:
        await server.source().fetch(url)
    assert server.requests == []
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["ftp://specs.test/a", "https:///a", "https://", "specs.test/a", "http://[::1"])
async def test_what_is_no_http_url_is_refused(url):
    with pytest.raises(InvalidInput):
        await Server(ok).source().fetch(url)


async def test_a_document_that_unpacks_to_too_much_is_refused():
    packed = gzip.compress(b"x" * 100_000)
    server = Server(lambda _: httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(InvalidInput, match="larger than 50000"):
        await server.source(max_bytes=50_000).fetch("https://specs.test/a")


async def test_a_server_that_never_answers_is_unavailable():
    async def served(_: httpx.Request) -> httpx.Response:
        return await asyncio.get_running_loop().create_future()

    source = HttpSpecSource(transport=httpx.MockTransport(served), resolve=resolving(PUBLIC), timeout_seconds=0.01)
    with pytest.raises(Unavailable, match="no complete answer"):
        await source.fetch("https://specs.test/a")


def descendants(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


KINDS = sorted(
    {*descendants(httpx.HTTPError), *descendants(httpx.StreamError), httpx.InvalidURL} - {httpx.HTTPStatusError},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_every_error_of_httpx_is_translated(kind):
    def answered(_: httpx.Request) -> httpx.Response:
        raise kind.__new__(kind)

    with pytest.raises((InvalidInput, Unavailable), match=r"https://specs\.test/a"):
        await Server(answered).source().fetch("https://specs.test/a")
    assert isinstance(translated(kind.__new__(kind), "x"), StoaError)


async def test_a_real_server_is_asked_under_its_own_name():
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        source = HttpSpecSource(rules=ANYWHERE, resolve=resolving("127.0.0.1"))
        assert (await source.fetch(f"http://specs.test:{port}/a?b=c#d")).text == "{}"

    assert seen[0].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"host: specs.test:{port}\r\n" in seen[0].lower()


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("secret", ["?key=S3CRET", "?a=1&token=S3CRET#part", "#S3CRET"])
async def test_the_query_of_a_location_is_sent_and_shown_nowhere(status: int, secret: str) -> None:
    server = Server(lambda _: httpx.Response(status, text="openapi: 3.1.0"))
    try:
        shown = (await server.source().fetch(f"https://specs.test/a{secret}")).location
    except StoaError as refused:
        shown = refused.message
    assert "https://specs.test/a" in shown
    assert "S3CRET" not in shown
    assert ("S3CRET" in str(server.requests[0].url)) == ("S3CRET" in secret)


async def test_an_unchanged_document_is_asked_for_by_its_entity_tag_and_not_sent_again():
    version = 1

    def answered(request: httpx.Request) -> httpx.Response:
        tag = f'"v{version}"'
        if request.headers.get("If-None-Match") == tag:
            return httpx.Response(304)
        return httpx.Response(200, text=f"openapi: 3.1.{version}", headers={"ETag": tag})

    server = Server(answered)
    source = server.source()
    first = await source.fetch("https://specs.test/a")
    assert await source.fetch("https://specs.test/a") == first
    version = 2
    assert (await source.fetch("https://specs.test/a")).text == "openapi: 3.1.2"
    tags = [request.headers.get("If-None-Match") for request in server.requests]
    assert tags == [None, '"v1"', '"v1"']


async def test_another_document_is_not_asked_for_by_the_entity_tag_of_the_first():
    server = Server(lambda _: httpx.Response(200, text="openapi: 3.1.0", headers={"ETag": '"v1"'}))
    source = server.source()
    for location in ("https://specs.test/a", "https://specs.test/b", "https://specs.test/a?key=1"):
        await source.fetch(location)
    assert not any("If-None-Match" in request.headers for request in server.requests)


async def test_a_document_that_was_not_asked_for_conditionally_and_is_said_to_be_unchanged_is_refused():
    with pytest.raises(InvalidInput):
        await Server(lambda _: httpx.Response(304)).source().fetch("https://specs.test/a")


SECRETS = {"bearer": {"token": "s3cr3t"}, "apiKey": {"apiKey": "s3cr3t"}}
SHOWN = {"bearer": ("authorization", "Bearer s3cr3t"), "apiKey": ("x-api-key", "s3cr3t")}


def credential_of(kind: str, **more: object) -> tuple[SpecCredential, InMemoryCredentialSource]:
    credentials = InMemoryCredentialSource()
    credentials.put(TenantId("acme"), "specs", SECRETS.get(kind, {}))
    authentication = Authentication.model_validate({"type": kind, "secret": {"name": "specs"}, **more})
    return SpecCredential(authentication, TenantId("acme")), credentials


@pytest.mark.parametrize("kind", SECRETS)
async def test_credential_is_shown_only_after_the_server_asked_for_one(kind):
    credential, credentials = credential_of(kind)
    name, value = SHOWN[kind]

    def guarded(request: httpx.Request) -> httpx.Response:
        return ok(request) if request.headers.get(name) == value else httpx.Response(401)

    server = Server(guarded)
    source = server.source(credentials=credentials)
    assert await source.fetch("https://specs.test/a", credential=credential)
    assert [name in request.headers for request in server.requests] == [False, True]
    with pytest.raises(InvalidInput, match="answered 401; the credential of the tools is shown to it if they call"):
        await source.fetch("https://specs.test/a")

    unguarded = Server(ok)
    assert await unguarded.source(credentials=credentials).fetch("https://specs.test/a", credential=credential)
    assert [name in request.headers for request in unguarded.requests] == [False]


async def test_credential_opened_document_is_given_to_nobody_without_one():
    """A server that says 304 before it looks at the credential must not open the document of another ToolSet."""
    credential, credentials = credential_of("bearer")

    def guarded(request: httpx.Request) -> httpx.Response:
        if "If-None-Match" in request.headers:
            return httpx.Response(304)
        if "authorization" not in request.headers:
            return httpx.Response(401)
        return httpx.Response(200, text="openapi: 3.1.0", headers={"ETag": '"v1"'})

    source = Server(guarded).source(credentials=credentials)
    await source.fetch("https://specs.test/a", credential=credential)
    with pytest.raises(InvalidInput):
        await source.fetch("https://specs.test/a")


async def test_credential_in_the_query_is_in_no_message():
    credential, credentials = credential_of("apiKey", location="query", parameter_name="key")
    server = Server(lambda _: httpx.Response(403))
    with pytest.raises(InvalidInput, match="the server answered 403 to the credential of the tools") as refused:
        await server.source(credentials=credentials).fetch("https://specs.test/a?b=c", credential=credential)
    assert [str(request.url.query, "ascii") for request in server.requests] == ["b=c", "b=c&key=s3cr3t"]
    assert "s3cr3t" not in "".join(traceback.format_exception(refused.value))


async def test_credential_follows_a_redirect_on_its_host_and_leaves_it_never():
    credential, credentials = credential_of("bearer")

    def answered(request: httpx.Request) -> httpx.Response:
        if "authorization" not in request.headers:
            return httpx.Response(401)
        return httpx.Response(302, headers={"Location": "https://elsewhere.test/a"})

    server = Server(answered)
    with pytest.raises(InvalidInput, match="redirects to another host"):
        await server.source(credentials=credentials).fetch("https://specs.test/a", credential=credential)
    assert {request.headers["Host"] for request in server.requests} == {"specs.test"}


async def test_access_token_that_the_server_refuses_is_replaced_once():
    at = Tokens()
    tool = oauth_tool()
    access = at.tokens.own_access(tool.authentication, tool.tenant)
    first = await access.token()
    at.clock.advance(60)  # so old that another one may fare better

    def guarded(request: httpx.Request) -> httpx.Response:
        shown = request.headers.get("authorization")
        return ok(request) if shown not in {None, f"Bearer {first}"} else httpx.Response(401)

    server = Server(guarded)
    credential = SpecCredential(tool.authentication, tool.tenant, access)
    assert await server.source().fetch("https://specs.test/a", credential=credential)
    shown = [request.headers.get("authorization") for request in server.requests]
    assert shown == [None, f"Bearer {first}", f"Bearer {await access.token()}"]


async def test_access_token_in_the_name_of_a_caller_cannot_fetch():
    tool = oauth_tool(type="tokenExchange", audience="pets")
    server = Server(lambda _: httpx.Response(401))
    with pytest.raises(InvalidInput, match="use clientCredentials, or give a file"):
        await server.source().fetch("https://specs.test/a", credential=SpecCredential(tool.authentication, tool.tenant))
    assert len(server.requests) == 1
