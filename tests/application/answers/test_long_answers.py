"""Answers that are too long to be given at once: the rest is read piece by piece, by the caller who got the answer."""

import json
from typing import Any

import pytest
from tests.application.answers.arranged import (
    ANN,
    BOB,
    ELSEWHERE,
    SAME_WITH_LESS,
    Arranged,
    Hiding,
    contents,
    texts,
)

from stoa.application import ListQuery
from stoa.application.answers.answer_pieces import REST_KEY
from stoa.application.memory.answer_store import InMemoryAnswerStore
from stoa.application.ports import AnswerStore, StoredPiece
from stoa.domain.access.fair_share import Caps
from stoa.domain.errors import NotPermitted, ResourceNotFound, SharedStateUnavailable
from stoa.domain.results.redaction import REDACTED
from stoa.domain.results.result import MISSING, RawAnswer
from stoa.testing.clock import ManualClock

ORDERS = {"total": 400, "orders": [{"id": number, "secret": f"s{number}"} for number in range(400)]}
SHORT = {"maxCharacters": 2000}


async def arranged(**parts: Any) -> Arranged:
    made = Arranged(answer=SHORT, **parts)
    await made.load()
    return made


def next_of(outcome: Any) -> str:
    return outcome.result.meta[REST_KEY]["next"]


async def test_answer_that_is_too_long_is_cut_and_its_rest_is_read_piece_by_piece():
    made = await arranged()

    outcome = await made.call(ORDERS)

    text, note = texts(outcome)
    assert outcome.result is not None
    shown = json.loads(text)
    assert outcome.result.structured == shown
    assert note.startswith(f"[truncated: /orders: {len(shown['orders'])} of 400 entries are shown. The rest")
    rest: dict[str, Any] | None = (outcome.result.meta or {})[REST_KEY]
    assert rest is not None
    assert rest["next"] in note
    assert rest["ttlMs"] == 600_000
    orders, count = list(shown["orders"]), 0
    while rest is not None:
        piece, about = contents(await made.read(rest["next"]))
        assert (piece.uri, piece.mime_type) == (rest["next"], "application/json")
        orders += json.loads(piece.text or "")
        count += 1
        rest = None if piece.notes is None or piece.notes.meta is None else piece.notes.meta[REST_KEY]
        assert (about.text or "").endswith("the last piece]" if rest is None else f"{rest['next']}]")
    assert orders == ORDERS["orders"]
    assert count == outcome.result.meta[REST_KEY]["pieces"]  # type: ignore[index]


async def test_answer_of_lines_is_cut_between_them():
    made = await arranged()
    lines = "".join(f"line {number}\n" for number in range(500))

    outcome = await made.call(RawAnswer(lines.encode("utf-16"), "text/csv", "utf-16"))

    shown, _ = texts(outcome)
    piece, _ = contents(await made.read(next_of(outcome)))
    assert shown.endswith("\n")
    assert lines.startswith(shown + (piece.text or ""))
    assert piece.mime_type == "text/plain"


async def test_answer_that_fits_is_not_touched():
    made = await arranged()

    outcome = await made.call(RawAnswer("é".encode() * 1500, "text/plain"))

    assert texts(outcome) == ["é" * 1500]
    assert outcome.result is not None
    assert outcome.result.meta is None


async def test_answer_with_headers_tells_them_and_the_rest():
    made = await arranged()

    outcome = await made.call(
        RawAnswer(json.dumps(ORDERS).encode(), "application/json", headers=(("Retry-After", "5"),))
    )

    assert [text.partition(":")[0] for text in texts(outcome)[1:]] == ["Retry-After", "[truncated"]


async def test_rest_of_an_answer_is_metered_as_a_read_of_its_own():
    made = await arranged()
    await made.read(next_of(await made.call(ORDERS)))

    assert [event.tool for event in made.sink.events()] == ["orders", "resource:stoa://answers/{answer}/{piece}"]


@pytest.mark.parametrize("caller", [BOB, ELSEWHERE, ANN.model_copy(update={"client": "other"})])
async def test_rest_of_an_answer_of_another_is_unknown(caller: Any):
    made = await arranged()
    uri = next_of(await made.call(ORDERS))
    unknown = f"stoa://answers/{'0' * 32}/1"

    theirs, nothing = await made.read(uri, caller), await made.read(unknown, caller)

    assert isinstance(theirs.error, ResourceNotFound)
    assert isinstance(nothing.error, ResourceNotFound)
    assert theirs.error.message.replace(uri, unknown) == nothing.error.message
    assert theirs.status == nothing.status
    assert contents(await made.read(uri))


async def test_rest_of_an_answer_is_not_for_the_same_subject_with_other_rights():
    made = await arranged()
    more = ANN.model_copy(update={"roles": frozenset({"viewer", "devops"})})

    uri = next_of(await made.call(ORDERS, more))

    assert isinstance((await made.read(uri)).error, ResourceNotFound)
    assert isinstance((await made.read(uri, SAME_WITH_LESS)).error, NotPermitted)


async def test_rest_of_an_answer_expires():
    made = await arranged()
    uri = next_of(await made.call(ORDERS))
    made.clock.advance(599)
    piece, _ = contents(await made.read(uri))
    assert piece.notes is not None
    assert piece.notes.meta is not None
    assert piece.notes.meta[REST_KEY]["ttlMs"] == 1000
    made.clock.advance(1)

    assert isinstance((await made.read(uri)).error, ResourceNotFound)


@pytest.mark.parametrize("piece", ["0", "-1", "01x", "9" * 30, "²", "99"])
async def test_pieces_that_there_are_not_are_unknown(piece: str):
    made = await arranged()
    uri = next_of(await made.call(ORDERS)).rpartition("/")[0]

    assert isinstance((await made.read(f"{uri}/{piece}")).error, ResourceNotFound)


async def test_what_the_policy_hides_is_hidden_in_the_shown_part_and_the_rest_is_not_kept():
    made = await arranged(policy=Hiding("/orders/*/secret"))

    outcome = await made.call(ORDERS)

    assert outcome.result is not None
    shown = outcome.result.structured
    assert {order["secret"] for order in shown["orders"]} == {REDACTED}
    text, note = texts(outcome)
    assert json.loads(text) == shown
    assert note.endswith("The rest cannot be read.]")
    assert "s399" not in str(outcome.result)


async def test_oldest_answers_of_a_caller_give_way():
    made = await arranged(answers=InMemoryAnswerStore(ManualClock(), Caps(30_000, 60_000, 60_000)))
    uris = [next_of(await made.call(ORDERS)) for _ in range(4)]

    gone = [(await made.read(uri)).error is not None for uri in uris]

    assert gone[0]
    assert not gone[-1]


async def test_answer_that_finds_no_room_says_that_its_rest_cannot_be_read():
    made = await arranged(answers=InMemoryAnswerStore(ManualClock(), Caps(0, 0, 0)))

    outcome = await made.call(ORDERS)

    assert texts(outcome)[-1].endswith("The rest cannot be read.]")
    assert outcome.result is not None
    assert outcome.result.meta is None


class Away(AnswerStore):
    async def keep(self, *_: Any, **__: Any) -> bool:
        raise SharedStateUnavailable

    async def piece(self, answer_id: str, number: int) -> StoredPiece | None:
        raise SharedStateUnavailable


async def test_answer_is_given_while_the_store_is_away():
    made = await arranged(answers=Away())

    outcome = await made.call(ORDERS)

    assert texts(outcome)[-1].endswith("The rest cannot be read.]")
    assert outcome.error is None


async def test_answers_have_their_bound_without_a_manifest_that_sets_one():
    made = Arranged()
    await made.load()

    whole = await made.call(RawAnswer(b"x" * 262_144, "text/plain"))
    cut = await made.call(RawAnswer(b"x" * 262_145, "text/plain"))

    assert len(texts(whole)) == 1
    assert len(texts(cut)[0]) == 262_144


async def test_error_that_is_long_is_cut_without_a_rest():
    made = Arranged()
    await made.load()

    outcome = await made.call(RawAnswer(b"x" * 400_000, "text/plain", is_error=True, status="500 Oops"))

    (text,) = texts(outcome)
    assert text.startswith("500 Oops\nxxx")
    assert text.endswith("[truncated: 400000 characters, 262144 shown]")
    assert outcome.result is not None
    assert outcome.result.structured is MISSING


async def test_answers_of_others_are_in_no_list():
    made = await arranged()

    page = await made.gateway.list_resources.execute(ANN, ListQuery(templates=True), "library")

    assert [resource.uri for resource in page.items] == ["stoa://tools/{name}"]
