"""Texts for people and models: short, without markup, the essence first."""

import re

DESCRIPTION_LIMIT = 1024
MEMBER_LIMIT = 300
TITLE_LIMIT = 100

_BLOCKS = re.compile(
    r"</?(?:p|br|ul|ol|li|div|h[1-6]|hr|table|thead|tbody|tr|td|th)(?:\s[^<>]{0,300})?/?>", re.IGNORECASE
)
_INLINE = re.compile(r"</?(?:a|b|i|u|em|strong|code|pre|span|img|sup|sub)(?:\s[^<>]{0,300})?/?>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]]{1,200})\]\((?:https?://|/|#)[^()\s]{0,400}\)")
_BLANK_LINES = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")


def cleaned(text: str) -> str:
    """The text without HTML and the targets of links, which cost more tokens than they help."""
    if "<" in text:
        text = _INLINE.sub("", _BLOCKS.sub("\n", text))
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    return _BLANK_LINES.sub("\n\n", text).strip()


def line(text: str, limit: int = MEMBER_LIMIT) -> str:
    """One line of at most `limit` characters."""
    if len(text) > 8 * limit:  # markup and blanks may go, but a second page is never shown
        text = text[: 8 * limit]
    return cut(" ".join(cleaned(text).split()), limit)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, ended at a sentence or a word where one is near."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    sentence = max(head.rfind(". "), head.rfind(".\n"))
    if sentence > limit // 2:
        return head[: sentence + 1]
    word = max(head.rfind(" "), head.rfind("\n"))
    return (head[:word] if word > limit // 2 else head).rstrip(" \n,;:") + "…"


def described(summary: str, description: str, fallback: str, *, is_deprecated: bool) -> str:
    """Summary, then description; each said once."""
    summary, description = cleaned(summary), cleaned(description)
    if summary and description and not description.lower().startswith(summary.lower().rstrip(".")):
        joined = f"{summary.rstrip('.')}. {description}" if "\n" not in summary else f"{summary}\n{description}"
    else:
        joined = description or summary or fallback
    return cut(f"Deprecated. {joined}" if is_deprecated else joined, DESCRIPTION_LIMIT)


def with_sentence(text: str, sentence: str) -> str:
    """The text with a sentence after it, within the limit of a description."""
    return f"{cut(text, DESCRIPTION_LIMIT - len(sentence) - 1)}\n{sentence}" if sentence else text
