"""Rewrites regular expressions of other dialects to the part of ECMA-262 that Unicode mode, Python and Rust read alike.

Descriptions have patterns in the dialect of whatever generated them (PCRE, Java, Python, .NET), and clients compile
them with ECMA-262, most of them in Unicode mode, which knows fewer escapes. A rewritten pattern matches the same texts;
one for which that is not possible is None.
"""

import re
from collections.abc import Callable

_LITERAL = re.compile(r"^/(?P<body>(?:[^/\\]|\\.)*)/(?P<flags>[a-z]*)\Z", re.DOTALL)
"""A pattern as JavaScript, Perl and PHP write it. A slash inside would end it, so that no path is taken for one."""
_INLINE_FLAGS = re.compile(r"\(\?(?P<flags>[a-zA-Z]+)\)")
_FLAGGED_GROUP = re.compile(r"\(\?(?P<flags>[a-zA-Z]+):")
_NAMED_GROUP = re.compile(r"\(\?(?:P<|<|')[A-Za-z_]\w*[>']")
_QUANTIFIER = re.compile(r"[*+?]|\{[0-9]+(?:,[0-9]*)?\}")
_POSIX = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "blank": r" \t", "xdigit": "0-9A-Fa-f", "word": r"\w", "punct": r"!-\/:-@\[-`{-~", "cntrl": r"\x00-\x1f\x7f",
    "print": " -~", "graph": "!-~",
}  # fmt: skip
_CONTROLS = {"a": r"\x07", "e": r"\x1b"}
_SAME = frozenset("dDwWsSbBtnrfv")
"""Escapes that all dialects read alike. `v` is all vertical space in PCRE; nobody means the difference."""
_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_IGNORED_FLAGS = frozenset("gud")
"""Flags of whoever searches: they change nothing about one whole match, or only how letters are counted."""


class _ForeignError(Exception):
    """The pattern has a part that ECMA-262 cannot express."""


def ecma_pattern(pattern: str) -> str | None:
    """The pattern in the common dialect, the same text if it is in it already; None if it cannot be expressed."""
    flags: frozenset[str] = frozenset()
    literal = _LITERAL.match(pattern)
    if literal is not None:
        pattern, flags = literal["body"], frozenset(literal["flags"])
    try:
        return _Rewriter(pattern, flags).rewritten()
    except _ForeignError:
        return None


class _Rewriter:
    def __init__(self, pattern: str, flags: frozenset[str]) -> None:
        self._pattern = pattern
        self._position = 0
        self._groups: list[tuple[bool, bool]] = []
        self._is_insensitive = self._matches_newlines = False
        self._set(flags)

    def rewritten(self) -> str:
        parts: list[str] = []
        can_repeat = False
        while self._position < len(self._pattern):
            start = self._position
            quantifier = _QUANTIFIER.match(self._pattern, start)
            if quantifier is not None and can_repeat:
                parts.append(self._quantifier(quantifier.group()))
                can_repeat = False
                continue
            part = self._next()
            parts.append(part)
            can_repeat = part not in {"", "|", "^"} and not part.endswith("(") and not part.startswith("(?")
        if self._groups:
            raise _ForeignError
        return "".join(parts)

    def _quantifier(self, text: str) -> str:
        self._position += len(text)
        following = self._pattern[self._position : self._position + 1]
        if following == "?":
            self._position += 1
            return f"{text}?"
        if following == "+":  # possessive: gives nothing back, which changes what follows it can match
            raise _ForeignError
        return text

    def _next(self) -> str:
        letter = self._pattern[self._position]
        handlers: dict[str, Callable[[], str]] = {
            "\\": self._escape, "[": self._class, "(": self._open, ")": self._close,
        }  # fmt: skip
        if letter in handlers:
            return handlers[letter]()
        self._position += 1
        if letter in "{}]":  # stands for itself, which Unicode mode wants to see escaped
            return f"\\{letter}"
        if letter in "*+?":
            raise _ForeignError
        if letter == "." and self._matches_newlines:
            return r"[\s\S]"
        return self._cased(letter)

    def _cased(self, letter: str) -> str:
        if self._is_insensitive and letter.isalpha():
            if not letter.isascii():
                raise _ForeignError
            return f"[{letter.lower()}{letter.upper()}]"
        return letter

    # -- groups

    def _open(self) -> str:
        rest = self._pattern[self._position : self._position + 80]
        if flags := _INLINE_FLAGS.match(rest):
            if self._position or self._groups:
                raise _ForeignError  # in the middle: dialects differ in what it is for
            self._position += flags.end()
            self._set(frozenset(flags["flags"]))
            return ""
        if rest.startswith("(?#"):
            end = self._pattern.find(")", self._position)
            if end < 0:
                raise _ForeignError
            self._position = end + 1
            return ""
        self._groups.append((self._is_insensitive, self._matches_newlines))
        for text in ("(?:", "(?=", "(?!", "(?<=", "(?<!"):
            if rest.startswith(text):
                self._position += len(text)
                return text
        if flags := _FLAGGED_GROUP.match(rest):
            self._position += flags.end()
            self._set(frozenset(flags["flags"]))
            return "(?:"
        if named := _NAMED_GROUP.match(rest):
            self._position += named.end()
            return "("
        if rest.startswith("(?"):  # atomic, conditional, recursive
            raise _ForeignError
        self._position += 1
        return "("

    def _close(self) -> str:
        if not self._groups:
            raise _ForeignError
        self._is_insensitive, self._matches_newlines = self._groups.pop()
        self._position += 1
        return ")"

    def _set(self, flags: frozenset[str]) -> None:
        if flags - _IGNORED_FLAGS - {"i", "s"}:
            raise _ForeignError
        self._is_insensitive = self._is_insensitive or "i" in flags
        self._matches_newlines = self._matches_newlines or "s" in flags

    # -- escapes

    def _escape(self, *, is_in_class: bool = False) -> str:
        letter = self._pattern[self._position + 1 : self._position + 2]
        if letter == "Q":
            return self._quoted(is_in_class=is_in_class)
        self._position += 2
        if letter in _SAME:
            if letter == "B" and is_in_class:
                raise _ForeignError
            return f"\\{letter}"
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter in {"A", "Z", "z"} and not is_in_class:
            return "^" if letter == "A" else "$"
        if letter == "h":
            return r" \t" if is_in_class else r"[ \t]"
        if letter in {"x", "u"}:
            return self._code(letter)
        if letter == "0" and not self._pattern[self._position : self._position + 1].isdigit():
            return r"\x00"
        if letter.isdigit() and not is_in_class:
            return f"\\{letter}"
        if not letter or (letter.isalnum() and letter.isascii()):  # \G, \R, \X, \K, \p: no common meaning
            raise _ForeignError
        if letter in _SYNTAX or (is_in_class and letter == "-"):
            return f"\\{letter}"
        return letter  # escaped for nothing, which Unicode mode refuses

    def _code(self, letter: str) -> str:
        digits = 2 if letter == "x" else 4
        if match := re.compile(r"\{([0-9A-Fa-f]{1,4})\}").match(self._pattern, self._position):
            self._position = match.end()
            return f"\\u{match[1].zfill(4)}"
        code = self._pattern[self._position : self._position + digits]
        if len(code) < digits or not all(digit in "0123456789abcdefABCDEF" for digit in code):
            raise _ForeignError
        self._position += digits
        return f"\\{letter}{code}"

    def _quoted(self, *, is_in_class: bool) -> str:
        end = self._pattern.find(r"\E", self._position)
        text = self._pattern[self._position + 2 : end if end >= 0 else len(self._pattern)]
        self._position = end + 2 if end >= 0 else len(self._pattern)
        special = _SYNTAX | {"-"} if is_in_class else _SYNTAX
        return "".join(f"\\{letter}" if letter in special else letter for letter in text)

    # -- classes

    def _class(self) -> str:
        self._position += 1
        parts = ["["]
        if self._pattern[self._position : self._position + 1] == "^":
            self._position += 1
            parts.append("^")
        if self._pattern[self._position : self._position + 1] == "]":  # stands for itself where a class cannot be empty
            self._position += 1
            parts.append("\\]")
        while True:
            if self._position >= len(self._pattern):
                raise _ForeignError
            letter = self._pattern[self._position]
            if letter == "]":
                self._position += 1
                return "".join([*parts, "]"])
            parts.append(self._member(letter))

    def _member(self, letter: str) -> str:
        if letter == "\\":
            return self._escape(is_in_class=True)
        if letter == "[":
            if posix := re.compile(r"\[:(\w+):\]").match(self._pattern, self._position):
                if posix[1] not in _POSIX:
                    raise _ForeignError
                self._position = posix.end()
                return _POSIX[posix[1]]
            self._position += 1
            return "\\["
        if letter == "-" and re.compile(r"-\\[dDwWsS]").match(self._pattern, self._position):
            self._position += 1
            return "\\-"  # a range cannot end in a class, so the hyphen stands for itself
        if self._pattern.startswith("&&", self._position):  # an intersection, in Java and Rust
            raise _ForeignError
        self._position += 1
        if self._is_insensitive and letter.isalpha():
            return self._cased_range(letter)
        return letter

    def _cased_range(self, letter: str) -> str:
        if not letter.isascii():
            raise _ForeignError
        match = re.compile(r"-([a-zA-Z])").match(self._pattern, self._position)
        if match is None:
            return letter.lower() + letter.upper()
        self._position = match.end()
        last = match[1]
        if letter.islower() != last.islower():
            raise _ForeignError
        return f"{letter.lower()}-{last.lower()}{letter.upper()}-{last.upper()}"
