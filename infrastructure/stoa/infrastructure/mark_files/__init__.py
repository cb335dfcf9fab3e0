"""One-time marks in a folder that the processes of one machine share."""

from stoa.infrastructure.mark_files.marks import FileOneTimeMarks

__all__ = ["FileOneTimeMarks"]
