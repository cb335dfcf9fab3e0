"""Calls with several rounds in the stateless era: questions, sealed state, answers."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types.methods import validate_server_result
from tests.interfaces.doors import STATELESS_REVISIONS, Answer, World, envelope, new_world

from stoa.application import Context, Principal
from stoa.domain.client_requests.client_request import ElicitationRequest, RootsRequest
from stoa.domain.errors import InvalidState
from stoa.domain.metering.event import Status
from stoa.interfaces.mcp.client_requests.request_state import RequestStates, RoundState
from stoa.testing.clock import ManualClock

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"], "type": "string"}}}
ALL = {"sampling": {}, "elicitation": {}, "roots": {}}
ADA = {"action": "accept", "content": {"name": "Ada"}}
BLUE = {"action": "accept", "content": {"colour": "blue"}}


@pytest.fixture
def world() -> World:
    world = new_world()

    @world.gateway.tool
    async def greet(context: Context, mark: str = "!") -> str:
        who = await context.elicit("Who?", NAME, key="who")
        return f"Hello, {who.content['name']}{mark}" if who.action == "accept" else "Hello"

    @world.gateway.tool
    async def twice(context: Context) -> str:
        first = await context.elicit("Who?", NAME, key="one")
        second = await context.elicit("Colour?", COLOUR, key="two")
        return f"{first.content['name']} likes {second.content['colour']}"

    @world.gateway.tool
    async def several(context: Context) -> str:
        answers = await context.ask({"who": ElicitationRequest("Who?", NAME), "where": RootsRequest()})
        return repr(sorted(answers))

    @world.gateway.tool
    async def sample(context: Context, prompt: str) -> str:
        return (await context.sample(prompt, max_tokens=9, system_prompt="brief", key="s")).text

    return world


async def _call(
    world: World,
    name: str,
    arguments: Any = None,
    *,
    can: Any = ALL,
    meta: Any = None,
    token: str = "alpha-admin",
    **more: Any,
) -> Answer:
    full = {**envelope(), "io.modelcontextprotocol/clientCapabilities": can, **(meta or {})}
    params = {"name": name, "arguments": arguments or {}, "_meta": full, **more}
    return await world.modern("tools/call", params, token=token)


async def _asked(world: World, *args: Any, **more: Any) -> dict[str, Any]:
    answer = await _call(world, *args, **more)
    assert answer.status == 200, answer.json()
    result = answer.json()["result"]
    validate_server_result("tools/call", STATELESS_REVISIONS, result)
    assert result["resultType"] == "input_required"
    return result


def _text(answer: Answer) -> str:
    result = answer.json()["result"]
    assert result["resultType"] == "complete"
    return result["content"][0]["text"]


async def test_round_ends_with_a_client_request_and_its_answer_finishes_the_call(world: World) -> None:
    asked = await _asked(world, "greet")
    assert asked["inputRequests"] == {
        "who": {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": NAME}}
    }
    assert "content" not in asked
    done = await _call(world, "greet", inputResponses={"who": ADA, "more": 1}, requestState=asked["requestState"])
    assert _text(done) == "Hello, Ada!"
    assert [(event.tool, event.status, event.cost_units > 0) for event in world.events] == [
        ("elicitation:greet", Status.INPUT_REQUIRED, False),
        ("greet", Status.INPUT_REQUIRED, False),
        ("greet", Status.SUCCESS, True),
    ]


async def test_every_round_has_a_state_of_its_own_that_keeps_the_answers(world: World) -> None:
    first = await _asked(world, "twice")
    second = await _asked(world, "twice", inputResponses={"one": ADA}, requestState=first["requestState"])
    assert list(second["inputRequests"]) == ["two"]
    assert second["requestState"] != first["requestState"]
    done = await _call(world, "twice", inputResponses={"two": BLUE}, requestState=second["requestState"])
    assert _text(done) == "Ada likes blue"


@pytest.mark.parametrize(
    "responses",
    [None, {}, [], "x", {"other": ADA}, {"who": None}, {"who": "Ada"}, {"who": {"action": "accept"}},
     {"who": {"action": "accept", "content": {"name": 5}}}, {"who": {"action": "maybe", "content": {"name": "x"}}}],
    ids=repr,
)  # fmt: skip
async def test_a_missing_or_malformed_answer_is_asked_for_again(world: World, responses: Any) -> None:
    asked = await _asked(world, "greet")
    for state in ({}, {"requestState": asked["requestState"]}):
        again = await _asked(world, "greet", inputResponses=responses, **state)
        assert list(again["inputRequests"]) == ["who"]


SAMPLED = {"role": "assistant", "content": {"type": "text", "text": "4"}, "model": "m"}


async def test_an_early_answer_to_a_form_counts_and_no_other_answer_does(world: World) -> None:
    assert _text(await _call(world, "greet", inputResponses={"who": ADA})) == "Hello, Ada!"
    responses = {"s": SAMPLED}
    asked = await _asked(world, "sample", {"prompt": "2+2"}, inputResponses=responses)
    assert list(asked["inputRequests"]) == ["s"]
    state = asked["requestState"]
    done = await _call(world, "sample", {"prompt": "2+2"}, inputResponses=responses, requestState=state)
    assert _text(done) == "4"


async def test_an_early_answer_is_kept_while_others_are_asked_for(world: World) -> None:
    asked = await _asked(world, "several", inputResponses={"who": ADA, "where": {"roots": []}})
    assert list(asked["inputRequests"]) == ["where"]
    roots = {"where": {"roots": [{"uri": "file:///a", "name": "a"}]}}
    done = await _call(world, "several", inputResponses=roots, requestState=asked["requestState"])
    assert _text(done) == "['where', 'who']"


@pytest.mark.parametrize("is_later", [False, True], ids=["fresh answer", "answer from an earlier round"])
async def test_round_answer_does_not_count_for_another_client_request_of_the_same_key(
    world: World, is_later: bool
) -> None:
    amount = [5]

    @world.gateway.tool
    async def pay(context: Context) -> str:
        sure = await context.elicit(f"Pay {amount[0]}?", NAME, key="sure")
        await context.elicit("Who?", NAME, key="who")
        return f"{sure.content['name']} pays {amount[0]}"

    asked = await _asked(world, "pay")
    if is_later:
        asked = await _asked(world, "pay", inputResponses={"sure": ADA}, requestState=asked["requestState"])
    amount[0] = 10_000
    responses = {"sure": ADA, "who": ADA}
    again = await _asked(world, "pay", inputResponses=responses, requestState=asked["requestState"])
    assert again["inputRequests"]["sure"]["params"]["message"] == "Pay 10000?"


async def test_round_with_a_page_is_answered_whatever_elicitation_id_its_run_makes(world: World) -> None:
    @world.gateway.tool
    async def visit(context: Context) -> str:
        return (await context.elicit_url("Sign in", "https://x.example/", key="page")).action

    can = {"elicitation": {"url": {}}}
    asked = await _asked(world, "visit", can=can)
    done = await _call(
        world, "visit", can=can, inputResponses={"page": {"action": "accept"}}, requestState=asked["requestState"]
    )
    assert _text(done) == "accept"


@pytest.mark.parametrize("can", [{}, {"sampling": {}}, {"elicitation": {"url": {}}}])
async def test_a_client_that_lacks_the_capability_is_told_which(world: World, can: Any) -> None:
    answer = await _call(world, "greet", can=can)
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32021)
    assert answer.json()["error"]["data"]["requiredCapabilities"] == {"elicitation": {}}
    assert [(event.status, event.cost_units) for event in world.events] == [(Status.INVALID, 0)]


async def test_a_state_is_good_for_its_caller_its_call_and_ten_minutes(world: World) -> None:
    state = (await _asked(world, "greet"))["requestState"]
    responses = {"inputResponses": {"who": ADA}, "requestState": state}
    wrong = [
        await _call(world, "greet", token="alpha-viewer", **responses),
        await _call(world, "greet", {"mark": "?"}, **responses),
        await _call(world, "several", **responses),
        await _call(world, "greet", inputResponses={"who": ADA}, requestState=state + "-TAMPERED"),
        await _call(world, "greet", inputResponses={"who": ADA}, requestState=5),
    ]
    assert _text(await _call(world, "greet", **responses)) == "Hello, Ada!"
    world.clock.advance(600)
    wrong.append(await _call(world, "greet", **responses))
    for answer in wrong:
        assert answer.status == 400
        assert answer.json()["error"] == {
            "code": -32602,
            "message": "Invalid or expired requestState",
            "data": {"code": "invalid_request_state"},
        }


@given(st.data())
@settings(max_examples=40, deadline=None)
async def test_no_changed_state_opens(data: Any) -> None:
    states = RequestStates(bytes(32), ManualClock(), "https://gw")
    kept = RoundState(1, {"a": {"x": 1}}, {"a": "fa"}, {"b": "fb"}, data.draw(st.booleans()))
    sealed = states.seal(kept, "me", {"a": 1, "b": 2})
    assert await states.open(sealed, "me", {"b": 2, "a": 1}) == kept
    where = data.draw(st.integers(0, len(sealed) - 1))
    what = data.draw(st.characters(codec="ascii"))
    changed = sealed[:where] + what + sealed[where + 1 :]
    others = [(changed, "me", {"a": 1, "b": 2})] if changed != sealed else []
    for token, *bound in [*others, (sealed, "you", {"a": 1, "b": 2}), (sealed, "me", {"a": 1})]:
        with pytest.raises(InvalidState):
            await states.open(token, *bound)
    for secret, audience in ((b"\x01" * 32, "https://gw"), (bytes(32), "https://other")):
        with pytest.raises(InvalidState):
            await RequestStates(secret, ManualClock(), audience).open(sealed, "me", {"a": 1, "b": 2})


ANN = Principal.of("ann", tenant="alpha", roles=["viewer"])
WHO = {
    "ann": ANN,
    "ann-of-beta": ANN.model_copy(update={"tenant": "beta"}),
    "ann-elsewhere": ANN.model_copy(update={"issuer": "https://other.example"}),
    "anns-other-app": ANN.model_copy(update={"client": "app"}),
    "vic": Principal.of("vic", tenant="alpha", roles=["viewer"]),
    "root": Principal.of("root", roles=["cpi-admin"]),
}
"""Callers who may all make the call, and must not go on with each other's."""

calls = st.fixed_dictionaries(
    {
        "token": st.sampled_from(sorted(WHO)),
        "method": st.sampled_from(["tools/call", "prompts/get"]),
        "name": st.sampled_from(["welcome", "welcome_again"]),
        "mark": st.sampled_from(["!", "?"]),
        "query": st.sampled_from(["", "?tenant_id=alpha", "?tenant_id=beta"]),
    }
).filter(lambda call: call["token"] == "root" or not call["query"])


def _who_greets() -> World:
    world = new_world(principals=WHO)

    async def welcome(context: Context, mark: str) -> str:
        who = await context.elicit("Who?", NAME, key="who")
        return f"Hello, {who.content['name']}{mark}"

    for name in ("welcome", "welcome_again"):
        world.gateway.tool(welcome, name=name)
        world.gateway.prompt(welcome, name=name)
    return world


async def _greeted(world: World, call: dict[str, str], **more: Any) -> Answer:
    full = {**envelope(), "io.modelcontextprotocol/clientCapabilities": ALL}
    params = {"name": call["name"], "arguments": {"mark": call["mark"]}, "_meta": full, **more}
    return await world.modern(call["method"], params, token=call["token"], query=call["query"])


def _or_another(call: dict[str, str]) -> st.SearchStrategy[tuple[dict[str, str], dict[str, str]]]:
    return st.tuples(st.just(call), st.just(call) | calls)


@given(
    both=calls.flatmap(_or_another),
    waited=st.sampled_from([0, 599, 600, 10_000]),
    changed=st.none() | st.tuples(st.integers(0, 10_000), st.sampled_from("Av_-.=\x00é")),
    repeats=st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
async def test_a_state_goes_on_with_its_own_call_alone_and_may_do_so_again(
    both: tuple[dict[str, str], dict[str, str]], waited: int, changed: tuple[int, str] | None, repeats: int
) -> None:
    (first, second), world = both, _who_greets()
    token = original = (await _greeted(world, first)).json()["result"]["requestState"]
    if changed is not None:
        where = changed[0] % len(token)
        token = token[:where] + changed[1] + token[where + 1 :]
    world.clock.advance(waited)
    goes_on = first == second and token == original and waited < 600
    for _ in range(repeats):  # not single use: docs/decisions/0014
        answer = await _greeted(world, second, inputResponses={"who": ADA}, requestState=token)
        if goes_on:
            assert answer.status == 200
            assert f"Hello, Ada{first['mark']}" in answer.body.decode()
        else:
            assert answer.status == 400
            assert answer.json()["error"] == {
                "code": -32602,
                "message": "Invalid or expired requestState",
                "data": {"code": "invalid_request_state"},
            }


def _news(world: World) -> None:
    @world.gateway.tool
    async def busy(context: Context) -> str:
        for value in (1, 1, 0, 2.5):
            await context.progress(value, 4, "on it")
            world.clock.advance(0.1)
        await context.log("debug", "quiet")
        await context.log("warning", {"disk": "full"}, "os")
        return "done"


async def test_progress_and_log_messages_come_before_the_answer_when_they_are_wanted(world: World) -> None:
    _news(world)
    meta = {"progressToken": "p", "io.modelcontextprotocol/logLevel": "info"}
    events = (await _call(world, "busy", can={}, meta=meta)).events()
    progress = [event["params"] for event in events if event.get("method") == "notifications/progress"]
    assert progress == [
        {"progressToken": "p", "progress": 1, "total": 4, "message": "on it"},
        {"progressToken": "p", "progress": 2.5, "total": 4, "message": "on it"},
    ]
    logged = [event["params"] for event in events if event.get("method") == "notifications/message"]
    assert logged == [{"level": "warning", "logger": "os", "data": {"disk": "full"}}]
    assert events[-1]["result"]["content"][0]["text"] == "done"


async def test_a_tool_that_tells_too_often_is_heard_ten_times_a_second(world: World) -> None:
    @world.gateway.tool
    async def eager(context: Context) -> str:
        for value in range(205):  # for two seconds, and on when it is over
            await context.progress(value, 200)
            world.clock.advance(0.01)
        return "done"

    params = {"name": "eager", "_meta": {**envelope(), "progressToken": 1}}
    for events in (
        (await world.modern("tools/call", params)).events(),
        (await world.legacy("tools/call", {"name": "eager", "_meta": {"progressToken": 1}})).events(),
    ):
        assert [event["params"]["progress"] for event in events[:-1]] == list(range(0, 201, 10))


async def test_who_wants_no_news_gets_one_json_answer(world: World) -> None:
    _news(world)
    for answer in (await _call(world, "busy"), await _call(world, "busy", can={})):
        assert answer.header("content-type") == "application/json"
    params = {"name": "busy", "_meta": {**envelope(), "progressToken": 1}}
    only_json = await world.modern("tools/call", params, headers={"accept": "application/json"})
    assert only_json.header("content-type") == "application/json"
    assert only_json.json()["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_handshake_era_without_a_session_has_progress_but_no_client_requests(world: World, version: str) -> None:
    _news(world)
    params = {"name": "busy", "_meta": {"progressToken": 7}}
    events = (await world.legacy("tools/call", params, version=version)).events()
    assert [event["params"]["progress"] for event in events[:-1]] == [1, 2.5]
    assert ("message" in events[0]["params"]) == (version != "2024-11-05")
    asked = (await world.legacy("tools/call", {"name": "greet"}, version=version)).json()["result"]
    assert (asked["isError"], asked["content"][0]["text"]) == (
        True,
        "The client must support elicitation for this call",
    )


@pytest.mark.parametrize("level", ["loud", 5, None])
async def test_a_log_level_that_is_none_is_invalid_params(world: World, level: Any) -> None:
    answer = await _call(world, "add", {"a": 1}, meta={"io.modelcontextprotocol/logLevel": level})
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)
