"""Tasks in a file that the processes of one machine share."""

from stoa.infrastructure.task_files.store import FileTaskStore

__all__ = ["FileTaskStore"]
