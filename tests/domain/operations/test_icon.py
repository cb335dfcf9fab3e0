"""Icons: what clients may be made to fetch and draw."""

from typing import Any

import pytest
from pydantic import ValidationError

from stoa.domain.operations.icon import DATA_LIMIT, URL_LIMIT, Icon
from stoa.domain.operations.tool import LocalBinding, Tool

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    "src", ["https://example.com/logo.png", "HTTPS://example.com/a?b#c", PIXEL, "data:image/svg+xml,%3Csvg/%3E"]
)
def test_https_urls_and_inline_images_are_icons(src: str) -> None:
    assert Icon(src=src).src == src


@pytest.mark.parametrize(
    "src",
    [
        *(
            "",
            "http://example.com/a.png",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "//example.com/a.png",
            "logo.png",
        ),
        *("https://", "https://user@example.com/a", "https://example.com/a b", "https://example.com/\n", "https://["),
        *("data:text/html,<script>", "data:image/png", "data:image/png;base64,a b", "data:,x"),
        *("https://example.com/" + "x" * 2048, "data:image/png;base64," + "A" * DATA_LIMIT),
    ],
)
def test_everything_else_is_refused_with_what_to_write_instead(src: str) -> None:
    with pytest.raises(ValidationError, match=r"https: URL|data: URI|characters"):
        Icon(src=src)


@pytest.mark.parametrize(
    "fields", [{"mime_type": "text/html"}, {"sizes": ("big",)}, {"sizes": ("0x1",)}, {"theme": "blue"}, {"alt": "x"}]
)
def test_the_other_members_are_checked_too(fields: Any) -> None:
    with pytest.raises(ValidationError):
        Icon(src=PIXEL, **fields)


def padded(start: str, length: int) -> str:
    return start + "x" * (length - len(start))


def test_a_source_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert (URL_LIMIT, DATA_LIMIT) == (2048, 16_384)
    for start, limit, message in (
        ("https://example.com/", URL_LIMIT, f"a URL has at most {URL_LIMIT} characters"),
        ("data:image/png,", DATA_LIMIT, f"a data: URI has at most {DATA_LIMIT} characters; give an https: URL instead"),
    ):
        longest = padded(start, limit)
        assert Icon(src=longest).src == longest
        with pytest.raises(ValidationError) as refused:
            Icon(src=longest + "x")
        assert f"Value error, {message} [" in str(refused.value)


@pytest.mark.parametrize("src", ["DATA:text/html,x", "data:text/html,x", "data:image/png;base64", "data:image/,x"])
def test_inline_data_that_is_no_image_is_told_so(src: str) -> None:
    with pytest.raises(
        ValidationError, match=r"error, a data: URI must be an image, as in data:image/png;base64,\.\.\."
    ):
        Icon(src=src)


@pytest.mark.parametrize(
    "src",
    ["http://e.com/", "https:///a", "https://u@e.com/", "https://@e.com/", "https://e.com/ ", "https://["],
)
def test_what_is_no_https_url_is_told_what_to_write(src: str) -> None:
    with pytest.raises(ValidationError, match=r"error, expected an https: URL, or a data: URI with an image "):
        Icon(src=src)


@pytest.mark.parametrize(
    "src",
    [
        *("data:image/x-icon;a=B9-;base64,!~", "data:image/svg+xml;charset=utf-8,%3C", "data:image/vnd.a-b,Z0"),
        *("https://example.com/!~", "https://example.com"),
    ],
)
def test_sources_with_every_character_that_may_stand_there(src: str) -> None:
    assert Icon(src=src).src == src


@pytest.mark.parametrize("mime_type", [None, "image/png", "image/svg+xml", "image/vnd.Mozilla.apng", "image/x-9"])
def test_a_media_type_is_an_images_under_both_spellings_of_its_name(mime_type: str | None) -> None:
    assert Icon(src=PIXEL, mime_type=mime_type).mime_type == mime_type
    assert Icon.model_validate({"src": PIXEL, "mimeType": mime_type}).mime_type == mime_type
    for wrong in ("", "image/", "text/html", "image/a b", " image/png", "image/png\n", "Ximage/png"):
        with pytest.raises(ValidationError, match="mime_type"):
            Icon(src=PIXEL, mime_type=wrong)


def test_sizes_are_whole_numbers_of_at_most_five_digits_or_any() -> None:
    good = ("any", "1x1", "9x9", "48x48", "99999x99999", "10x20")
    assert Icon(src=PIXEL, sizes=good).sizes == good
    for wrong in ("", "Any", "48", "48X48", "0x1", "1x0", "01x1", "100000x1", "1x100000", "1x1\n", " 1x1", "1x1x1"):
        with pytest.raises(ValidationError, match="sizes"):
            Icon(src=PIXEL, sizes=(wrong,))


def test_an_operation_has_at_most_eight_icons() -> None:
    binding = LocalBinding(function="f")
    assert len(Tool(name="ant", binding=binding, icons=(Icon(src=PIXEL),) * 8).icons) == 8
    with pytest.raises(ValidationError, match="icons"):
        Tool(name="ant", binding=binding, icons=(Icon(src=PIXEL),) * 9)
