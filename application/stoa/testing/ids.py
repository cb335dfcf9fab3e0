"""Ids that a test can name."""

from itertools import count

from stoa.application.ports import IdFactory


class SequentialIds(IdFactory):
    """`00000000-0000-7000-8000-000000000001` and so on, so that tests can name the ids they expect.

    Two instances return the same series: unique only where one instance makes all ids.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def new_id(self) -> str:
        return f"00000000-0000-7000-8000-{next(self._numbers):012x}"
