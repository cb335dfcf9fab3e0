"""How an answer goes on: the next page, or work that was only accepted."""

import pytest
from tests.infrastructure.openapi.documents import api, only_tool, operation
from tests.infrastructure.rest.loopback import answer, called, loopback, rest_backend

from stoa.domain.results.result import shape

TEXT = {"type": "string"}
META = {"meta": {"type": "object", "properties": {"nextPageToken": TEXT}}}


def listing(names, members=None, headers=None, **parameter):
    parameters = [{"name": name, "in": "query", "schema": TEXT, **parameter} for name in names]
    response = {"description": "ok", "headers": headers or {}}
    if members is not None:
        schema = {"type": "object", "properties": members}
        response["content"] = {"application/json": {"schema": schema}}
    return only_tool(api({"/pets": {"get": operation(parameters=parameters, responses={"200": response})}})).description


@pytest.mark.parametrize(
    ("names", "members", "sentence"),
    [
        (["cursor"], {"next_cursor": TEXT}, "pass 'next_cursor' of the answer as 'cursor'."),
        (
            ["pageToken"],
            {"meta": {"type": "object", "properties": {"nextPageToken": TEXT}}},
            "pass 'meta.nextPageToken'",
        ),
        (["starting_after", "limit"], None, "pass where the answer ended as 'starting_after'."),
        (["offset", "limit"], {}, "raise 'offset' by 'limit'."),
        (["$skip", "$top"], {}, "raise '$skip' by '$top'."),
        (["page", "per_page"], {}, "raise 'page' by 1."),
    ],
)
def test_pages_are_explained_in_the_description(names, members, sentence):
    assert f"Next page: {sentence}" in listing(names, members)


def test_pages_by_the_link_header_are_explained():
    assert "header Link" in listing([], {}, {"Link": {"schema": TEXT}})


@pytest.mark.parametrize("names", [["q"], ["offset"], ["limit"]])
def test_pages_that_are_none_are_not_explained(names):
    assert listing(names, {}) == "GET /pets"


def test_pages_are_no_required_parameter():
    assert listing(["cursor"], {}, required=True) == "GET /pets"


def test_accepted_work_is_explained_in_the_description_and_in_the_answer():
    responses = {"202": {"description": "later", "headers": {"Location": {"schema": TEXT}}}}
    tool = only_tool(api({"/jobs": {"post": operation(responses=responses)}}))
    assert "the header Location of the answer says where its state is read" in tool.description
    both = {**responses, "200": {"description": "now"}}
    assert only_tool(api({"/jobs": {"post": operation(responses=both)}})).description == "POST /jobs"


async def test_accepted_work_and_answers_elsewhere_say_where():
    accepted = answer(status="202 Accepted", more="Location: /jobs/7\r\nRetry-After: 3\r\n")
    elsewhere = answer(b"", status="303 See Other", more="Location: /orders/7\r\n")
    document = api({"/jobs": {"post": operation(responses={"202": {"description": "later"}})}})
    for served, told in (
        (accepted, "The work goes on (202 Accepted)"),
        (elsewhere, "the URL in Location (303 See Other)"),
    ):
        async with loopback(lambda _, served=served: served) as server, rest_backend() as backend:
            result = shape(await called(backend, only_tool(document, base_url=server.url)))
        text = "\n".join(block.text for block in result.content)
        assert told in text
        assert "Location: /" in text


@pytest.mark.parametrize(
    "media_type", ["text/event-stream", "application/x-ndjson; charset=utf-8", "application/json-seq"]
)
def test_stream_is_explained_in_the_description(media_type):
    responses = {"200": {"description": "ok", "content": {media_type: {}}}}
    tool = only_tool(api({"/pets": {"get": operation(responses=responses)}}))
    assert tool.description.endswith("The answer is a stream; what comes in its first seconds is returned.")
    assert tool.binding.accept.startswith(media_type.partition(";")[0])


def test_stream_is_not_promised_where_the_answer_may_be_another():
    responses = {"200": {"description": "ok", "content": {"text/event-stream": {}, "application/json": {}}}}
    assert "stream" not in only_tool(api({"/pets": {"get": operation(responses=responses)}})).description


@pytest.mark.parametrize(("codes", "tasks"), [(["202"], "explicit"), (["200", "202"], "explicit"), (["200"], "never")])
def test_tool_whose_work_may_only_be_accepted_may_become_a_task(codes, tasks):
    responses = {code: {"description": "ok"} for code in codes}
    assert only_tool(api({"/pets": {"post": operation(responses=responses)}})).tasks == tasks
