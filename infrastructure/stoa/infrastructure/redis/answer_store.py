"""The rest of long answers in Redis.

PREFIX answer:ID       hash: `holder`, who may read it, and each piece by its number, from 1 on
PREFIX answers-...     who has how many bytes (`shares.py`), answers by the time at which they end
"""

from collections.abc import Sequence

import pydantic_core

from stoa.application.ports import Clock
from stoa.application.ports.answer_store import AnswerStore, StoredPiece
from stoa.domain.access.fair_share import Caps, Holder
from stoa.domain.results.cutting import Piece
from stoa.infrastructure.redis.connection import RedisConnection
from stoa.infrastructure.redis.shares import LUA, keys_of

BYTES = Caps(per_caller=16 * 1024 * 1024, per_tenant=64 * 1024 * 1024, total=256 * 1024 * 1024)

_KEEP = (
    """
local prefix, id, now, kept_for = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local owner, tenant, facts, size = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local caps = {tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])}
"""
    + LUA
    + """
local held = shares('answers', kept_for)
local function forget(who)
  held.drop(who)
  redis.call('DEL', prefix .. 'answer:' .. who)
end
for _, who in ipairs(held.ended(now)) do forget(who) end
if held.room(id, owner, tenant, size, caps, true, forget) then return 0 end
held.keep(id, owner, tenant, size, now + kept_for)
local key = prefix .. 'answer:' .. id
redis.call('HSET', key, 'holder', facts)
for number = 12, #ARGV do redis.call('HSET', key, number - 11, ARGV[number]) end
redis.call('PEXPIRE', key, kept_for)
return 1
"""
)


class RedisAnswerStore(AnswerStore):
    """`bytes_kept`: bounds on the bytes of the texts."""

    def __init__(self, redis: RedisConnection, clock: Clock, bytes_kept: Caps = BYTES) -> None:
        self._redis = redis
        self._clock = clock
        self._caps = (bytes_kept.per_caller, bytes_kept.per_tenant, bytes_kept.total)
        self._keep = redis.script(_KEEP)

    async def keep(self, answer_id: str, pieces: Sequence[Piece], holder: Holder, reader: str, seconds: float) -> bool:
        now_ms, kept_ms = round(self._clock.now().timestamp() * 1000), round(seconds * 1000)
        written = [pydantic_core.to_json([piece.text, piece.media_type, piece.about]) for piece in pieces]
        facts = pydantic_core.to_json([reader, holder.tenant, len(written), now_ms + kept_ms])
        size = sum(map(len, written))
        is_kept = await self._redis.run(
            self._keep, answer_id, now_ms, kept_ms, *keys_of(holder), facts, size, *self._caps, *written
        )
        return bool(is_kept)

    async def piece(self, answer_id: str, number: int) -> StoredPiece | None:
        with self._redis.guarded():
            key = f"{self._redis.prefix}answer:{answer_id}"
            facts, written = await self._redis.client.hmget(key, ["holder", number])
        if facts is None or written is None:
            return None
        reader, tenant, count, end_ms = pydantic_core.from_json(facts)
        left = end_ms / 1000 - self._clock.now().timestamp()
        if left <= 0:
            return None
        return StoredPiece(Piece(*pydantic_core.from_json(written)), reader, tenant, count, seconds_left=left)
