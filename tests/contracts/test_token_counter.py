"""The laws of TokenCounter, for every adapter."""

import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.ports.token_counter import TokenCounter
from stoa.infrastructure.tokens import ENCODINGS, BytePairCounter
from stoa.testing.token_counter import InMemoryTokenCounter

ADAPTERS: list[TokenCounter] = [InMemoryTokenCounter(), *map(BytePairCounter, ENCODINGS)]
every_adapter = pytest.mark.parametrize("counter", ADAPTERS, ids=lambda counter: counter.name)


@every_adapter
@given(text=st.text(max_size=60), other=st.text(max_size=60))
def test_token_counts_are_always_the_same_and_those_of_a_part_are_no_more(
    counter: TokenCounter, text: str, other: str
) -> None:
    assert counter.count("") == 0
    assert counter.count(text) == counter.count(text) <= len(text.encode())
    assert counter.count(text + other) <= counter.count(text) + counter.count(other)


@every_adapter
def test_token_counter_counts_alike_in_the_worker_process(counter: TokenCounter) -> None:
    copy = pickle.loads(pickle.dumps(counter))  # its own text
    assert (copy.name, copy.count("two words")) == (counter.name, counter.count("two words"))


@every_adapter
@pytest.mark.parametrize("run", ["x", "-", " ", "9", "ä", "{", "_"])
def test_token_count_of_one_endless_word_is_bounded_work(counter: TokenCounter, run: str) -> None:
    """A run of 200,000 characters would take a byte pair encoder that takes it as one word the square of that."""
    assert 0 < counter.count(run * 200_000) <= 400_000


@pytest.mark.parametrize(("encoding", "tokens"), [("cl100k_base", 5), ("o200k_base", 5)])
def test_token_counts_are_those_that_the_encoding_gives(encoding: str, tokens: int) -> None:
    """ "{\\"type\\":\\"string\\"}" as tiktoken encodes it."""
    (counter,) = [each for each in ADAPTERS if each.name == encoding]
    assert counter.count('{"type":"string"}') == tokens


def test_token_counter_loads_no_table_before_it_counts() -> None:
    code = (
        "import sys; from stoa.infrastructure.tokens import BytePairCounter; BytePairCounter();"
        "from stoa.infrastructure.tokens.byte_pair_counter import _encoder; print(_encoder.cache_info().currsize)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0"
