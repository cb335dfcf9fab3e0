"""W3C Trace Context, as callers send it: https://www.w3.org/TR/trace-context/."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.calls.trace_context import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_trace_context_is_read_and_written_again() -> None:
    context = TraceContext.parse(PARENT, "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE")
    assert context == TraceContext(TRACE, SPAN, True, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert context is not None
    assert context.traceparent == PARENT
    assert TraceContext.parse(f"00-{TRACE}-{SPAN}-00") == TraceContext(TRACE, SPAN)


def test_trace_context_of_a_child_has_a_new_span_in_the_same_trace() -> None:
    context = TraceContext(TRACE, SPAN, True, "a=b")
    children = {context.child() for _ in range(50)}
    assert len({child.span_id for child in children} | {SPAN}) == 51
    assert {(child.trace_id, child.is_sampled, child.state) for child in children} == {(TRACE, True, "a=b")}
    assert all(TraceContext.parse(child.traceparent, child.state) == child for child in children)


@pytest.mark.parametrize(
    "traceparent",
    [
        None, 7, "", "x", PARENT.upper(), PARENT[:-1], f"{PARENT}-extra", f" {PARENT}", f"{PARENT}\n",
        f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[1:]}g-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-{'x' * 300}", f"01-{TRACE}-{SPAN}-01x", f"00_{TRACE}_{SPAN}_01",
    ],
)  # fmt: skip
def test_trace_context_that_is_not_valid_is_none(traceparent: object) -> None:
    assert TraceContext.parse(traceparent, "a=b") is None


def test_trace_context_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    for sent in (f"cc-{TRACE}-{SPAN}-09", f"01-{TRACE}-{SPAN}-ff-what-will-be"):
        read = TraceContext.parse(sent)
        assert read == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "tracestate",
    [
        None, 7, "", "a", "a=", "=b", "A=b", "a=b,a=c", "a=b=c", "a=b\n", "a=ü", f"a={'x' * 257}", "a=b " + "x" * 600,
        ",".join(f"k{number}=v" for number in range(33)), "a@=b", "a=b;\x00",
    ],
)  # fmt: skip
def test_tracestate_that_is_not_valid_is_left_out(tracestate: object) -> None:
    assert TraceContext.parse(PARENT, tracestate) == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize("tracestate", ["a=b", "a=b,c=d", "t@v=x", "0t@v=x", "a*/-_=!~", "a=b , ,c=d"])
def test_tracestate_that_is_valid_goes_on(tracestate: str) -> None:
    read = TraceContext.parse(PARENT, tracestate)
    assert read is not None
    assert read.state == tracestate.replace(" ", "").replace(",,", ",")


@given(st.text(max_size=600) | st.binary().map(lambda raw: raw.decode("latin-1")), st.text(max_size=600))
def test_trace_context_passes_on_nothing_but_visible_ascii_within_its_bounds(parent: str, state: str) -> None:
    for read in (TraceContext.parse(parent, state), TraceContext.parse(PARENT, state)):
        if read is not None:
            sent = read.traceparent + read.state
            assert sent.isascii()
            assert sent.isprintable()
            assert len(read.traceparent) == 55
            assert len(read.state) <= 512


def test_trace_context_does_not_show_its_state() -> None:
    assert "secret" not in repr(TraceContext.parse(PARENT, "a=secret"))
