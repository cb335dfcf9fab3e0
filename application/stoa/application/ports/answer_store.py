"""Keeps the rest of long answers for a short time."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stoa.domain.access.fair_share import Holder
from stoa.domain.results.cutting import Piece


@dataclass(frozen=True, slots=True)
class StoredPiece:
    piece: Piece
    reader: str
    """The authorization key of the caller who may read it."""
    tenant: str | None
    """The tenant that this caller looked at."""
    count: int
    """Pieces of the answer."""
    seconds_left: float


class AnswerStore(Protocol):
    """Laws: a piece is found by its answer and number until it expires, or gives way. All replicas that share the
    store see the same pieces. Bytes are bounded for each caller, each tenant and all (`stoa.domain.access.fair_share`):
    the oldest answer gives way, of the caller, the tenant, or the tenant that holds most. An answer is kept as a whole
    or not at all.

    Raises SharedStateUnavailable when the store cannot be reached."""

    @abstractmethod
    async def keep(self, answer_id: str, pieces: Sequence[Piece], holder: Holder, reader: str, seconds: float) -> bool:
        """Keep the pieces, numbered from 1 on, for so many seconds. `holder`: the caller whom they count for;
        `reader`: the authorization key of the one who may read them. False: there is no room for them."""
        ...

    @abstractmethod
    async def piece(self, answer_id: str, number: int) -> StoredPiece | None: ...
