"""State that the replicas of one gateway share, in Redis 6.2 or newer (a single server or a compatible one; no
cluster)."""

from stoa.infrastructure.redis.answer_store import RedisAnswerStore
from stoa.infrastructure.redis.approvals import RedisApprovals
from stoa.infrastructure.redis.budget_ledger import RedisBudgetLedger
from stoa.infrastructure.redis.connection import RedisConnection
from stoa.infrastructure.redis.event_store import RedisEventStore
from stoa.infrastructure.redis.message_bus import RedisMessageBus
from stoa.infrastructure.redis.one_time_marks import RedisOneTimeMarks
from stoa.infrastructure.redis.rate_limiter import RedisRateLimiter
from stoa.infrastructure.redis.replica_count import ReplicaCount
from stoa.infrastructure.redis.session_store import RedisSessionStore
from stoa.infrastructure.redis.task_store import RedisTaskStore

__all__ = [
    "RedisAnswerStore",
    "RedisApprovals",
    "RedisBudgetLedger",
    "RedisConnection",
    "RedisEventStore",
    "RedisMessageBus",
    "RedisOneTimeMarks",
    "RedisRateLimiter",
    "RedisSessionStore",
    "RedisTaskStore",
    "ReplicaCount",
]
