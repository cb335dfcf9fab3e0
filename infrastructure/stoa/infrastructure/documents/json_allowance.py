"""A bound on what the JSON of a binary message has beyond the message: names, brackets, values of one byte.

Two bytes of Protobuf or one of Avro can stand for a name of a thousand characters, so bounds in bytes say little about
what a message becomes.
"""

MAX_CHARACTERS = 8 * 1024 * 1024
"""Upper bound for one answer. Texts and bytes are not counted: they are as long in the message."""
VALUE_CHARACTERS = 16
"""Upper bound on what a number, a boolean or a bracket takes, and on what each value counts at least: so an answer has
at most half a million, as over HTTP."""


class AllowanceExceeded(Exception):
    """The JSON would have more than MAX_CHARACTERS."""


class JsonAllowance:
    """The characters that are left for the JSON of one answer."""

    __slots__ = ("left",)

    def __init__(self, characters: int = MAX_CHARACTERS) -> None:
        self.left = characters

    def take(self, characters: int) -> None:
        """Raises AllowanceExceeded."""
        self.left -= characters
        if self.left < 0:
            raise AllowanceExceeded
