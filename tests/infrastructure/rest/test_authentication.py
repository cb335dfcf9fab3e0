"""How the gateway proves itself to a back end, and that its secrets stay out of everything else."""

import base64
import traceback

import pytest
import yarl
from tests.infrastructure.rest.loopback import Last, answer, called, loopback, rest_backend, rest_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable

SECRET = "s3cret/+&= %"
ACME = TenantId("acme")


def secrets(**entries: str) -> InMemoryCredentialSource:
    source = InMemoryCredentialSource()
    source.put(ACME, "pets", entries)
    return source


def authenticated(url: str, kind: str, **more: object):
    authentication = {"type": kind, "secret": {"name": "pets"}, **more}
    return rest_tool(url, tool={"tenant": "acme", "authentication": authentication})


async def test_a_bearer_token_is_sent_in_the_authorization_header():
    async with loopback(lambda _: answer()) as server, rest_backend(secrets(token="t-1")) as backend:
        await called(backend, authenticated(server.url, "bearer"))

    assert server.seen[0].header("Authorization") == "Bearer t-1"


async def test_basic_credentials_are_user_name_and_password_whatever_key_is_named():
    source = secrets(username="ann", password="pä:ss")
    async with loopback(lambda _: answer()) as server, rest_backend(source) as backend:
        await called(backend, authenticated(server.url, "basic", secret={"name": "pets", "key": "other"}))

    scheme, _, value = (server.seen[0].header("Authorization") or "").partition(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", "ann:pä:ss")


@pytest.mark.parametrize("location", ["header", "query", "cookie"])
async def test_an_api_key_is_sent_where_the_tool_says(location):
    async with loopback(lambda _: answer()) as server, rest_backend(secrets(apiKey=SECRET)) as backend:
        given = await called(backend, authenticated(server.url, "apiKey", location=location, parameter_name="X-Key"))

    seen = server.seen[0]
    if location == "header":
        assert seen.header("X-Key") == SECRET
    elif location == "cookie":
        assert seen.header("Cookie") == "X-Key=s3cret/+&=%20%25"
    else:
        assert yarl.URL(seen.target).query == {"X-Key": SECRET}
    assert "s3cret" not in given.uri


async def test_a_changed_secret_is_used_by_the_next_call():
    source = secrets(token="old")
    async with loopback(lambda _: answer()) as server, rest_backend(source) as backend:
        await called(backend, authenticated(server.url, "bearer"))
        source.put(ACME, "pets", {"token": "new"})
        await called(backend, authenticated(server.url, "bearer"))

    assert [seen.header("Authorization") for seen in server.seen] == ["Bearer old", "Bearer new"]


async def test_without_its_secret_nothing_is_sent():
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        with pytest.raises(BackendUnavailable, match=r"pets .*token.*acme"):
            await called(backend, authenticated(server.url, "bearer"))

    assert server.seen == []


async def test_a_secret_with_a_line_break_is_refused_without_showing_it():
    async with loopback(lambda _: answer()) as server, rest_backend(secrets(token="s3cret\r\nX: 1")) as backend:
        with pytest.raises(BackendUnavailable, match="control characters") as caught:
            await called(backend, authenticated(server.url, "bearer"))

    assert server.seen == []
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("location", ["header", "query", "cookie"])
@pytest.mark.parametrize(
    "bytes_sent", [None, b"garbage\r\n\r\n", Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")]
)
async def test_no_failure_shows_the_secret(location, bytes_sent, caplog):
    answers = iter([bytes_sent, None, None])
    async with loopback(lambda _: next(answers)) as server, rest_backend(secrets(apiKey="s3cret")) as backend:
        with pytest.raises(Exception, match="failed") as caught:
            await called(backend, authenticated(server.url, "apiKey", location=location))

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__) + caplog.text
    assert "s3cret" not in shown
