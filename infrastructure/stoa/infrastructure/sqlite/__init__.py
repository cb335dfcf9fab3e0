"""Tasks in a file that the processes of one machine share."""

from stoa.infrastructure.sqlite.task_store import SqliteTaskStore

__all__ = ["SqliteTaskStore"]
