"""The rest of long answers, in this process."""

from collections.abc import Sequence
from dataclasses import dataclass

from stoa.application.ports.answer_store import AnswerStore, StoredPiece
from stoa.application.ports.clock import Clock
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom
from stoa.domain.results.cutting import Piece

BYTES = Caps(per_caller=8 * 1024 * 1024, per_tenant=16 * 1024 * 1024, total=32 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class _Answer:
    pieces: tuple[Piece, ...]
    holder: Holder
    reader: str
    expires_at: float


class InMemoryAnswerStore(AnswerStore):
    """`bytes_kept`: bounds on the bytes of the texts."""

    def __init__(self, clock: Clock, bytes_kept: Caps = BYTES) -> None:
        self._clock = clock
        self._shares: FairShares[str] = FairShares(bytes_kept)
        self._answers: dict[str, _Answer] = {}

    async def keep(self, answer_id: str, pieces: Sequence[Piece], holder: Holder, reader: str, seconds: float) -> bool:
        now = self._clock.now().timestamp()
        self._drop([stored_id for stored_id, answer in self._answers.items() if answer.expires_at <= now])
        size = sum(len(piece.text.encode("utf-8", "replace")) + len(piece.about) for piece in pieces)
        try:
            self._drop(self._shares.put(answer_id, holder, size))
        except NoRoom:
            return False
        self._answers[answer_id] = _Answer(tuple(pieces), holder, reader, now + seconds)
        return True

    async def piece(self, answer_id: str, number: int) -> StoredPiece | None:
        answer = self._answers.get(answer_id)
        left = 0.0 if answer is None else answer.expires_at - self._clock.now().timestamp()
        if answer is None or left <= 0 or not 1 <= number <= len(answer.pieces):
            return None
        return StoredPiece(
            answer.pieces[number - 1], answer.reader, answer.holder.tenant, len(answer.pieces), seconds_left=left
        )

    def _drop(self, answer_ids: Sequence[str]) -> None:
        for answer_id in answer_ids:
            self._answers.pop(answer_id, None)
            self._shares.remove(answer_id)
