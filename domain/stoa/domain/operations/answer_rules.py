"""Rules for the answers of a tool: how much of one is shown at once, which part of it, and where reading a stream
ends."""

from typing import Annotated

from pydantic import Field, StringConstraints

from stoa.domain.operations.binding import StreamBounds
from stoa.domain.results.result import TEXT_LIMIT
from stoa.domain.value import Strict

MIN_CHARACTERS = 1024
MAX_EXPRESSION = 1024

Expression = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EXPRESSION)]
"""A JMESPath expression (jmespath.org)."""


class AnswerRules(Strict):
    max_characters: int = Field(default=TEXT_LIMIT, ge=MIN_CHARACTERS, le=TEXT_LIMIT)
    """Characters that are shown at once; the rest stays readable for a while."""
    projection: Expression | None = None
    """Projects every answer that is JSON and no error."""
    projection_argument: str | None = None
    """The argument by which a caller projects further; None: there is none."""
    stream: StreamBounds = StreamBounds()
    """Bounds of a streamed answer: reading ends at the first."""

    @property
    def projects(self) -> bool:
        """True if answers may have another shape than those of the back end."""
        return self.projection is not None or self.projection_argument is not None
