"""Tokens counted with the tables of OpenAI's encodings, offline (extra `tokens`)."""

from stoa.infrastructure.tokens.byte_pair_counter import ENCODINGS, BytePairCounter

__all__ = ["ENCODINGS", "BytePairCounter"]
