"""Icons: what clients may be made to fetch and draw."""

from typing import Any

import pytest
from pydantic import ValidationError

from stoa.domain.icon import DATA_LIMIT, Icon

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
