"""Answers that take more than a moment to shape: long ones, which are cut, and projected ones."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace

from stoa.application.answers.answer_pieces import KEPT_SECONDS, REST_KEY, AnswerPieces
from stoa.application.concurrency.fair_threads import FairThreads
from stoa.domain.access.identity import Principal
from stoa.domain.errors import SharedStateUnavailable
from stoa.domain.results.cutting import Rest
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject

_log = logging.getLogger(__name__)

THREADS = 2
"""One tenant has at most half of them: the work holds the interpreter, so more would only take turns."""


class LongAnswers:
    def __init__(self, pieces: AnswerPieces) -> None:
        self._pieces = pieces
        self._threads = FairThreads(THREADS, "stoa-answers")

    async def shaped(self, shape: Callable[[], ToolResult], principal: Principal) -> ToolResult:
        """The result that `shape` gives, in a thread. If some of the answer is not shown, the result says so and where
        the rest can be read."""
        result = await self._threads.run(principal.tenant, shape)
        return result if result.rest is None else await self._with_rest(result, result.rest, principal)

    def close(self) -> None:
        self._threads.close()

    async def _with_rest(self, result: ToolResult, rest: Rest, principal: Principal) -> ToolResult:
        next_piece: JsonObject | None = None
        try:
            next_piece = await self._pieces.keep(secrets.token_hex(16), rest.pieces, principal)
        except SharedStateUnavailable:
            _log.warning("the rest of an answer could not be kept")
        if next_piece is None:
            note, meta = f"[truncated: {rest.omitted}. The rest cannot be read.]", result.meta
        else:
            count, minutes = next_piece["pieces"], round(KEPT_SECONDS / 60)
            note = (
                f"[truncated: {rest.omitted}. The rest can be read as a resource for {minutes} minutes, in {count} "
                f"piece{'s' if count > 1 else ''}, the first at {next_piece['next']}]"
            )
            meta = {**(result.meta or {}), REST_KEY: next_piece}
        kept = replace(rest, pieces=())  # in the store now, or nowhere
        return replace(result, content=(*result.content, TextContent(note)), meta=meta, rest=kept)
