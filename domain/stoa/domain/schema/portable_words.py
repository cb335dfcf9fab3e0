"""Texts of a portable schema within a length."""


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, ended after a sentence where one ends in the second half, else at a word."""
    if len(text) <= limit:
        return text
    end = max(text.rfind(mark, limit // 2, limit + 1) for mark in (". ", ".\n", "! ", "? "))
    if end > 0:
        return text[: end + 1]
    head = text[: limit - 1]
    return (head[: head.rfind(" ")] if " " in head[limit // 2 :] else head).rstrip(" ,;:.") + "…"
