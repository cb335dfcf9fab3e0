"""Resources, prompts, pages about tools and completion through the embedded gateway: governed like tools."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.catalogue.test_catalogue_loader import Bench, many
from tests.application.pipeline import Pipeline, answers, tool
from tests.strategies import principals

from stoa.application import Gateway, ListQuery, Principal, PromptMessage, TextContent, Tool
from stoa.application.catalogue.complete_argument import MAX_VALUES, CompletionQuery
from stoa.application.catalogue.tool_pages import TOOL_PAGES
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.access.caller_limits import REQUESTS_PER_CALL, CallerLimits
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import (
    InvalidArguments,
    InvalidInput,
    NotAuthenticated,
    PromptNotFound,
    QuotaExceeded,
    ResourceNotFound,
)
from stoa.domain.metering.event import Status
from stoa.domain.operations.tool import LocalBinding, RestBinding, SecretReference, ToolAnnotations
from stoa.domain.results.result import EmbeddedResource, ToolResult
from stoa.testing.clock import ManualClock

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
ROOT = Principal.of("root", roles=["cpi-admin"])
BINDING = LocalBinding(function="f")


async def read(gateway, uri, credential=ANN):
    return await gateway.invoke(uri, {}, credential, kind="resource")


async def get(gateway, name, credential=ANN, **arguments):
    return await gateway.invoke(name, arguments, credential, kind="prompt")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("text", EmbeddedResource("memo://a%20b/7", "text/x", text="text")),
        (b"\x00", EmbeddedResource("memo://a%20b/7", "text/x", blob="AA==")),
        (ToolResult((TextContent("own"),)), EmbeddedResource("memo://a%20b/7", "text/x", text="own")),
        (
            ToolResult((EmbeddedResource("memo://sub", "a/b", text="x"),)),
            EmbeddedResource("memo://sub", "a/b", text="x"),
        ),
    ],
)
async def test_a_function_reads_a_template_with_its_variables_as_parameters(answer, expected):
    gateway, seen = Gateway(clock=ManualClock()), []

    @gateway.resource("memo://{name}/{number}", mime_type="text/x")
    def memo(name: str, number: int):
        seen.append((name, number))
        return answer

    outcome = await read(gateway, "memo://a%20b/7")
    assert outcome.content().content == (expected,)
    assert seen == [("a b", 7)]
    assert outcome.event.tool == "resource:memo://{name}/{number}"
    assert (outcome.status, outcome.cost) == (Status.SUCCESS, 1000)
    assert isinstance((await read(gateway, "memo://a/b")).error, InvalidArguments)


async def test_a_function_writes_a_prompt_from_text():
    gateway = Gateway()

    @gateway.prompt(completions={"topic": ["ants"]})
    async def explain(topic: str, depth: int = 1) -> list:
        "Explains."
        return [PromptMessage("assistant", TextContent("Hm.")), f"{topic} {depth + 1}"]

    outcome = await get(gateway, "explain", topic="ants", depth="2")
    assert outcome.content().messages == (
        PromptMessage("assistant", TextContent("Hm.")),
        PromptMessage("user", TextContent("ants 3")),
    )
    assert outcome.event.tool == "prompt:explain"
    for wrong in ({}, {"topic": 5}, {"topic": "x", "depth": "deep"}, {"topic": "x", "other": "y"}):
        assert isinstance((await get(gateway, "explain", **wrong)).error, InvalidArguments), wrong
    assert isinstance((await get(gateway, "nothing")).error, PromptNotFound)


@pytest.mark.parametrize("uri", ["memo://{a}", "memo://x", "memo://{a}/{b}/{c}", "memo://{a}{b}"])
def test_a_functions_parameters_are_the_templates_variables(uri):
    def function(a: str, b: str) -> str:
        return a + b

    with pytest.raises(InvalidInput, match="memo:"):
        Gateway().resource(uri)(function)


async def test_a_tool_a_prompt_and_a_resource_do_not_meet():
    gateway = Gateway()

    @gateway.tool(name="same")
    def one() -> str:
        return "tool"

    @gateway.prompt(name="same")
    def other() -> str:
        return "prompt"

    assert (await gateway.invoke("same", {}, ANN)).result.content == (TextContent("tool"),)
    assert (await get(gateway, "same")).content().messages[0].content == TextContent("prompt")
    assert isinstance((await read(gateway, "same")).error, ResourceNotFound)


async def test_an_unknown_uri_is_metered_under_the_one_name_for_all_of_them():
    pipeline = Pipeline(tool())
    outcome = await pipeline.invoke("memo://" + "x" * 500, kind="resource")
    assert outcome.event.tool == "(unknown)"
    assert (outcome.status, outcome.cost) == (Status.INVALID, 0)


async def test_an_error_of_a_back_end_is_told_instead_of_contents():
    gateway = Gateway()

    @gateway.resource("memo://x")
    def broken() -> ToolResult:
        return ToolResult.error("out of paper")

    outcome = await read(gateway, "memo://x")
    assert outcome.status is Status.ERROR
    with pytest.raises(Exception, match="out of paper") as told:
        outcome.content()
    assert told.value.code == "content_unavailable"


def _secretive(name="pay", **fields):
    return Tool(
        name=name,
        title="Pay | me",
        description="Pays.",
        input_schema={
            "type": "object",
            "properties": {"n": {"type": ["integer", "null"], "description": "How\nmany | x"}, "k": {"enum": ["a"]}},
            "required": ["n"],
        },
        annotations=ToolAnnotations(read_only_hint=True),
        binding=RestBinding(method="GET", base_url="https://internal.example", path="/hidden"),
        authentication={"type": "bearer", "secret": SecretReference(name="very-secret")},
        rate_limit={"requests_per_minute": 7, "burst": 2},
        **fields,
    )


class _Rest:
    kind = "rest"

    def prepare(self, tool):
        return answers

    async def close(self):
        pass


async def test_the_page_about_a_tool_tells_what_a_caller_needs_and_nothing_of_its_back_end():
    gateway = Gateway(backends=[_Rest()])
    gateway.add_tools(_secretive())
    (block,) = (await read(gateway, "stoa://tools/pay")).content().content
    assert (block.uri, block.mime_type) == ("stoa://tools/pay", "text/markdown")
    for part in ("# Pay | me", "Pays.", "| n | integer or null | yes | How many \\| x |", '["a"]', "- only reads",
                 "`stoa:read`", "7 calls a minute", "30 s"):  # fmt: skip
        assert part in block.text
    for hidden in ("internal.example", "hidden", "secret", "bearer"):
        assert hidden not in block.text


@settings(max_examples=30, deadline=None)
@given(principals(), st.sampled_from([None, "acme", "beta"]), st.sampled_from([None, True, False]))
async def test_a_page_can_be_read_by_whoever_may_list_the_tool_and_for_others_it_is_not_there(caller, owner, reads):
    gateway = Gateway(backends=[_Rest()])
    gateway.add_tools(
        _secretive("theirs", tenant=owner).model_copy(update={"annotations": ToolAnnotations(read_only_hint=reads)})
    )
    listed = [one.name for one in (await gateway.tools(caller)).items]
    theirs, nothing = await read(gateway, "stoa://tools/theirs", caller), await read(gateway, "stoa://tools/x", caller)
    if "theirs" in listed:
        assert theirs.error is None
    else:
        assert type(theirs.error) is type(nothing.error)
        assert theirs.error.message.replace("theirs", "x") == nothing.error.message
    completed = (
        await gateway.complete_argument.execute(caller, _names_of_tools(), "library")
        if ("stoa:read" in caller.scopes)
        else None
    )
    assert completed is None or list(completed.values) == listed


def _names_of_tools(value=""):
    return CompletionQuery(kind="resource", name=TOOL_PAGES.uri, argument="name", value=value)


async def test_completion_offers_what_begins_alike_up_to_its_limit():
    gateway = Gateway(backends=[_Rest()])
    gateway.add_tools(*(_secretive(f"pay-{number}") for number in range(MAX_VALUES + 5)))
    all_of_them = await gateway.complete_argument.execute(ANN, _names_of_tools("PAY"), "library")
    assert (len(all_of_them.values), all_of_them.total) == (MAX_VALUES, MAX_VALUES + 5)
    assert (await gateway.complete_argument.execute(ANN, _names_of_tools("x"), "library")).values == ()
    for query, error in [
        (CompletionQuery(kind="resource", name=TOOL_PAGES.uri, argument="other", value=""), InvalidInput),
        (CompletionQuery(kind="resource", name="memo://{x}", argument="x", value=""), ResourceNotFound),
        (CompletionQuery(kind="prompt", name="none", argument="x", value=""), PromptNotFound),
    ]:
        with pytest.raises(error):
            await gateway.complete_argument.execute(ANN, query, "library")


async def test_completion_authenticates_and_counts_as_a_request():
    gateway = Gateway(limits=CallerLimits(roles={"viewer": RateLimit(requests_per_minute=1, burst=1)}))
    gateway.prompt(lambda city: city, name="trip", completions={"city": ["Paris"]})
    query = CompletionQuery(kind="prompt", name="trip", argument="city", value="")
    with pytest.raises(NotAuthenticated):
        await gateway.complete_argument.execute(None, query, "library")
    for _ in range(REQUESTS_PER_CALL):
        assert (await gateway.complete_argument.execute(ANN, query, "library")).values == ("Paris",)
    with pytest.raises(QuotaExceeded):
        await gateway.complete_argument.execute(ANN, query, "library")


@pytest.mark.parametrize(("kind", "error"), [("prompt", PromptNotFound), ("resource", ResourceNotFound)])
async def test_nothing_is_completed_in_the_name_of_another_tenant(kind, error):
    gateway = Gateway()
    gateway.prompt(lambda city: city, name="trip", tenant="beta", completions={"city": ["Paris"]})
    gateway.resource("x://{city}", tenant="beta", completions={"city": ["Paris"]})(lambda city: city)
    name = "trip" if kind == "prompt" else "x://{city}"
    query = CompletionQuery(kind=kind, name=name, argument="city", value="", tenant="beta")
    with pytest.raises(error):
        await gateway.complete_argument.execute(ANN, query, "library")
    assert (await gateway.complete_argument.execute(ROOT, query, "library")).values == ("Paris",)


async def test_only_arguments_that_a_prompt_has_are_completed():
    gateway = Gateway()
    gateway.prompt(lambda city: city, name="trip", completions={"city": ["Paris"]})
    with pytest.raises(InvalidInput, match="trip has no such argument"):
        await gateway.complete_argument.execute(
            ANN, CompletionQuery(kind="prompt", name="trip", argument="colour", value=""), "library"
        )


@pytest.mark.parametrize("answer", [7, None, ["text", 7]])
async def test_what_a_function_returns_that_is_no_content_is_a_defect_that_only_the_log_explains(answer, caplog):
    sink = InMemoryMeteringSink()
    gateway = Gateway(sink=sink)
    gateway.resource("memo://x")(lambda: answer)
    gateway.prompt(lambda: answer, name="p")
    for outcome in (await read(gateway, "memo://x"), await get(gateway, "p")):
        assert (outcome.status, outcome.result, outcome.event.status) == (Status.ERROR, None, Status.ERROR)
        assert outcome.error.message.startswith("Internal error; quote")
    assert len(list(sink.events())) == 2
    assert "a resource function returns str, bytes or ToolResult" in caplog.text
    assert "a prompt function returns str or a list of PromptMessage" in caplog.text


async def test_the_description_that_tools_were_made_from_can_be_read_by_those_who_see_them():
    bench = Bench()
    sets = [many(inline="ant", name="open"), many(inline='["bee"]', name="closed")]
    sets[1]["metadata"]["namespace"] = "tenant-acme"
    assert await bench.run(a=sets) == []
    (one,) = bench.registry.catalogue.view(None, "resource")
    assert (one.identifier, one.name, one.mime_type, one.size) == ("stoa://apis/open", "open", "application/yaml", 3)
    mine = bench.registry.catalogue.resolve("acme", "stoa://apis/closed")
    assert mine is not None
    assert (mine.mime_type, mine.binding.contents[0].text) == ("application/json", '["bee"]')
    assert bench.registry.catalogue.resolve("beta", "stoa://apis/closed") is None
    assert await bench.run(a=None) == []
    assert bench.registry.catalogue.view("acme", "resource") == ()


async def test_resources_and_templates_are_listed_apart():
    gateway = Gateway()

    @gateway.resource("memo://x")
    def one() -> str:
        return "x"

    plain = await gateway.list_resources.execute(ANN, ListQuery(), "library")
    templates = await gateway.list_resources.execute(ANN, ListQuery(templates=True), "library")
    assert [one.uri for one in plain.items] == ["memo://x"]
    assert [one.uri for one in templates.items] == ["stoa://tools/{name}"]
