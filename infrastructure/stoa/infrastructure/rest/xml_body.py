"""Encodes a JSON value as XML by the hints of its schema (OpenAPI 3.1 section 4.8.26): names, attributes, wrapped
arrays, namespaces. What has no hint is an element named as its member."""

import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from stoa.domain.operations.tool import XmlElement
from stoa.domain.schema.json_value import is_array, is_object
from stoa.infrastructure.http_client.header_text import Unsendable
from stoa.infrastructure.rest.encoding import scalar

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_NO_HINTS = XmlElement()


def xml_encoder(root: XmlElement) -> Callable[[Any], bytes]:
    """A string is sent as it is: it is taken for XML."""

    def encode(value: Any) -> bytes:
        if isinstance(value, str):
            return value.encode()
        declaration = '<?xml version="1.0" encoding="UTF-8"?>'
        return (declaration + "".join(_elements(root.name or "root", value, root))).encode()

    return encode


def _elements(member: str, value: Any, hints: XmlElement) -> list[str]:
    """The elements that a member becomes; several for an array without a wrapper."""
    if not is_array(value):
        return [_element(hints.name or member, value, hints)]
    items = hints.items or _NO_HINTS
    inner = [_element(items.name or hints.name or member, item, items) for item in value]
    if not hints.is_wrapped:
        return inner
    return [_tagged(hints.name or member, hints, "", "".join(inner))]


def _element(name: str, value: Any, hints: XmlElement) -> str:
    if is_array(value):
        return _tagged(name, hints, "", "".join(_element("item", item, hints.items or _NO_HINTS) for item in value))
    if not is_object(value):
        return _tagged(name, hints, "", "" if value is None else escape(_text(value)))
    attributes, inner = "", ""
    for key, member in value.items():
        member_hints = hints.members.get(key, _NO_HINTS)
        if member is None:
            continue
        if member_hints.is_attribute:
            attributes += f" {_qualified(member_hints.name or key, member_hints)}={quoteattr(_text(member))}"
        elif member_hints.is_text:
            inner += escape(_text(member))
        else:
            inner += "".join(_elements(key, member, member_hints))
    return _tagged(name, hints, attributes, inner)


def _tagged(name: str, hints: XmlElement, attributes: str, inner: str) -> str:
    tag = _qualified(name, hints)
    if hints.namespace:
        declared = f"xmlns:{hints.prefix}" if hints.prefix else "xmlns"
        attributes = f" {declared}={quoteattr(hints.namespace)}{attributes}"
    return f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"


def _qualified(name: str, hints: XmlElement) -> str:
    if not _NAME.fullmatch(name):
        raise Unsendable("members with names that XML allows")
    return f"{hints.prefix}:{name}" if hints.prefix else name


def _text(value: Any) -> str:
    text = scalar(value)
    if _FORBIDDEN.search(text):
        raise Unsendable("text without characters that XML does not allow")
    return text
