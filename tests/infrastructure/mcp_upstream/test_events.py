"""Server-sent events are read from pieces of any size."""

from hypothesis import given
from hypothesis import strategies as st

from stoa.infrastructure.mcp_upstream.events import EventReader

PARTS = st.sampled_from(
    [b"data: a", b"data:b\n", b"id: 1", b"event: x", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r"]
)


@given(st.lists(PARTS, max_size=20).map(b"".join), st.integers(1, 7))
def test_events_are_the_same_in_whatever_pieces_they_come(stream: bytes, size: int) -> None:
    stream += b"\n\n"  # else a last CR is held back until it is known what follows
    whole = [*EventReader(1000).feed(stream)]
    reader = EventReader(1000)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [event for piece in pieces for event in reader.feed(piece)] == whole
