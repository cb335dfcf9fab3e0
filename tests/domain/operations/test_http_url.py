"""URLs of servers in manifests: their host is the one that a reader sees."""

import pytest
from pydantic import TypeAdapter, ValidationError

from stoa.domain.operations.binding import HttpUrl

URL = TypeAdapter(HttpUrl)


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.example:8443", "https://a.example/graphql/v1", "http://[::1]:80/"]
)
def test_http_url_of_a_server_is_accepted(url: str) -> None:
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://user@b.example/",
        "https://a.example:secret@b.example/",
        "https://a.example\\@b.example/",
        "https://a.example?key=1",
        "https://a.example/#part",
        "https:///path",
        "ftp://a.example/",
    ],
)
def test_http_url_with_a_user_a_query_or_no_host_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        URL.validate_python(url)
