"""Counting the tokens of a text as a language model's tokenizer does."""

from abc import abstractmethod
from typing import Protocol


class TokenCounter(Protocol):
    """Laws: pure; the count of an empty text is 0; time grows with the length of the text, whatever stands in it.

    Pickled to the worker process, so an adapter holds names and loads its tables when it first counts."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the encoding, as its publisher calls it."""
        ...

    @abstractmethod
    def count(self, text: str) -> int:
        """Tokens of the text."""
        ...
