"""Text that a header field may carry."""

from stoa.domain.operations.dot_segments import holds_control_character


class Unsendable(ValueError):
    """A value cannot be sent as the binding demands; the text says what is expected and never repeats the value."""


def header_text(text: str) -> str:
    """`text`, when a header field may carry it (RFC 9110 section 5.5). Raises Unsendable."""
    if holds_control_character(text.replace("\t", "")):
        raise Unsendable("text without control characters")
    return text
