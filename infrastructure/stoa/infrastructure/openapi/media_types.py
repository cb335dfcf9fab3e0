"""The media types that a body can be sent as, and the preference among them."""

import re

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
NDJSON = "application/x-ndjson"
MULTIPART = "multipart/form-data"
MEDIA_TYPE = re.compile(r"^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+(?:\s*;\s*[A-Za-z0-9_-]+=[\w\"./:+-]+)*\Z")
IS_MULTIPART, IS_TEXT, IS_LINES, IS_XML, IS_BYTES, IS_OTHER_MULTIPART, UNSUPPORTED = 6, 7, 8, 9, 10, 11, 99
_LINES_OF_JSON = frozenset(
    {
        NDJSON,
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
    }
)
_TEXT_TYPES = frozenset({"application/yaml", "application/x-yaml", "application/graphql", "application/x-pem-file"})
_SENT_AS = {
    "*/*": JSON,
    "application/*": JSON,
    "application/*+json": JSON,
    "text/*": "text/plain",
    "application/*+xml": "application/xml",
    "multipart/*": MULTIPART,
}


def essence(media_type: str) -> str:
    """The media type in lower case, without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def sent_type(media_type: str) -> str:
    """The type that a body of this type is sent as. Wildcards stand for JSON or plain text; of files (`image/*`) they
    stay, because the file says its type itself."""
    return _SENT_AS.get(essence(media_type), media_type)


def rank(media_type: str) -> int:
    """Preference among media types that could be sent; smaller is better."""
    name = essence(media_type)
    if name == JSON:
        return 0
    if name.endswith("merge-patch+json"):
        return 1
    if name.endswith("+json") and not name.endswith(("json-patch+json", "json-seq")):
        return 2
    if name in {"text/json", "*/*", "application/*"}:
        return 3
    if name.endswith("json-patch+json"):
        return 4
    if name == FORM:
        return 5
    if name in {MULTIPART, "multipart/*"}:
        return IS_MULTIPART
    if name in _LINES_OF_JSON:
        return IS_LINES
    if name.endswith(("/xml", "+xml")):
        return IS_XML
    if name.startswith("text/") or name in _TEXT_TYPES:
        return IS_TEXT
    if name.startswith("multipart/"):
        return IS_OTHER_MULTIPART
    return UNSUPPORTED if name.startswith("message/") else IS_BYTES
