"""Icons of tools, resources and prompts, which clients may show next to them (MCP 2025-11-25, "Icons")."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, StringConstraints

from stoa.domain.value import Strict

URL_LIMIT = 2048
DATA_LIMIT = 16 * 1024
"""Characters of a `data:` URI: a list repeats it for every entry."""
_DATA = re.compile(r"data:image/[A-Za-z0-9.+-]+(;[A-Za-z0-9=-]+)*,[!-~]+\Z")
_VISIBLE = re.compile(r"[!-~]+\Z")


def _is_source(src: str) -> str:
    """Accepts https URLs and inline pictures only, because clients fetch and draw the source."""
    if src[:5].lower() == "data:":
        if not _DATA.match(src):
            raise ValueError("a data: URI must be an image, as in data:image/png;base64,...")
        if len(src) > DATA_LIMIT:
            raise ValueError(f"a data: URI has at most {DATA_LIMIT} characters; give an https: URL instead")
        return src
    try:
        url = urlsplit(src)
    except ValueError:
        url = urlsplit("")
    if url.scheme != "https" or not url.hostname or url.username is not None or not _VISIBLE.match(src):
        raise ValueError("expected an https: URL, or a data: URI with an image")
    if len(src) > URL_LIMIT:
        raise ValueError(f"a URL has at most {URL_LIMIT} characters")
    return src


class Icon(Strict):
    """One picture."""

    src: Annotated[
        str,
        AfterValidator(_is_source),
        Field(
            json_schema_extra={
                "pattern": "^([hH][tT][tT][pP][sS]://[A-Za-z0-9.-]+(:[0-9]{1,4})?([/?#][!-~]*)?"
                "|[dD][aA][tT][aA]:image/[A-Za-z0-9.+-]+(;[A-Za-z0-9=-]+)*,[!-~]+)$",
                "maxLength": DATA_LIMIT,
            }
        ),
    ]
    mime_type: str | None = Field(
        default=None, validation_alias=AliasChoices("mimeType", "mime_type"), pattern=r"^image/[A-Za-z0-9.+-]+$"
    )
    sizes: tuple[Annotated[str, StringConstraints(pattern=r"^(any|[1-9]\d{0,4}x[1-9]\d{0,4})$")], ...] = ()
    """Sizes such as `48x48`, or `any` for a scalable picture."""
    theme: Literal["light", "dark"] | None = None
    """The background that the picture is drawn for."""


Icons = Annotated[tuple[Icon, ...], Field(max_length=8)]
