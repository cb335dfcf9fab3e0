"""`stoa://answers/{answer}/{piece}`: the rest of a long answer, piece by piece, for the caller who got the answer.

Reading a piece is an invocation like any other: authenticated, limited, authorised and metered.
"""

from collections.abc import Sequence

from stoa.application.ports.answer_store import AnswerStore
from stoa.application.ports.tool_backend import BackendCall, CallContext, ToolBackend
from stoa.domain.access.fair_share import Holder
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput, ResourceNotFound
from stoa.domain.operations.binding import AnswerBinding
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.results.content_notes import ContentNotes
from stoa.domain.results.cutting import Piece
from stoa.domain.results.result import EmbeddedResource, ToolResult
from stoa.domain.schema.json_value import JsonObject

KEPT_SECONDS = 600.0
REST_KEY = "dev.gostoa/rest"
"""Key in `_meta` under which the next piece is named."""
_MAX_DIGITS = 6

ANSWER_PIECES = Resource(
    uri="stoa://answers/{answer}/{piece}",
    name="answer",
    title="Rest of an answer",
    description="A piece of an answer that was too long to be given at once; the answer names its first piece.",
    binding=AnswerBinding(),
)


class AnswerPieces(ToolBackend):
    """Keeps the pieces of long answers, and reads them."""

    kind = "answer"

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, AnswerBinding):
            raise InvalidInput(f"{tool.key}: its binding is {tool.binding.kind}, not answer")
        return _PieceCall(self._store)

    async def keep(self, answer_id: str, pieces: Sequence[Piece], principal: Principal) -> JsonObject | None:
        """Keep the pieces for this caller; returns the value of REST_KEY, or None where they cannot be kept. Raises
        SharedStateUnavailable."""
        if not pieces:
            return None
        holder = Holder(principal.tenant, principal.identity_key)
        if not await self._store.keep(answer_id, pieces, holder, principal.authorization_key, KEPT_SECONDS):
            return None
        return _next(answer_id, 1, len(pieces), KEPT_SECONDS)

    async def close(self) -> None:
        """Does nothing: there is no connection to release."""


class _PieceCall(BackendCall):
    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        answer_id, written = str(arguments["answer"]), str(arguments["piece"])
        uri = ANSWER_PIECES.template.expand({"answer": answer_id, "piece": written})
        is_number = written.isascii() and written.isdecimal() and len(written) <= _MAX_DIGITS
        if not is_number or not (answer_id.isascii() and answer_id.isalnum()):
            raise ResourceNotFound(uri)
        number, reader = int(written), context.principal
        stored = await self._store.piece(answer_id, number)
        if stored is None or (stored.reader, stored.tenant) != (reader.authorization_key, reader.tenant):
            raise ResourceNotFound(uri)  # the same whether it is another caller's, has expired, or never was
        piece = stored.piece
        if number == stored.count:
            told, meta = f"[{piece.about}: the last piece]", None
        else:
            rest = _next(answer_id, number + 1, stored.count, stored.seconds_left)
            told, meta = f"[{piece.about}; the next piece is at {rest['next']}]", {REST_KEY: rest}
        content = EmbeddedResource(uri, piece.media_type, piece.text, notes=ContentNotes(meta=meta))
        return ToolResult((content, EmbeddedResource(f"{uri}#about", "text/plain", told)))


def _next(answer_id: str, number: int, count: int, seconds_left: float) -> JsonObject:
    uri = ANSWER_PIECES.template.expand({"answer": answer_id, "piece": str(number)})
    return {"next": uri, "pieces": count, "ttlMs": round(seconds_left * 1000)}
