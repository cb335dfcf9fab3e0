"""The pages about tools, for callers who may see them."""

import pytest
from tests.application.pipeline import ANN, Pipeline, tool

from stoa.application.catalogue.tool_pages import TOOL_PAGES, ToolPages, page
from stoa.application.ports import CallContext
from stoa.domain.errors import InvalidInput, ResourceNotFound
from stoa.domain.policy.decision import Permit


async def read(key, name):
    call = ToolPages(Pipeline(tool(), tool("theirs", tenant="beta")).view).prepare(TOOL_PAGES)
    return await call({"name": name}, CallContext(Permit(key, ()), ANN, "r-1", None, "library", "app"))


async def test_tool_pages_are_read_of_tools_that_the_caller_sees():
    assert (await read(TOOL_PAGES.key, "count")).content[0].text == page(tool())
    for name in ("theirs", "none"):
        with pytest.raises(ResourceNotFound):
            await read(TOOL_PAGES.key, name)


def test_it_serves_nothing_but_pages():
    with pytest.raises(InvalidInput, match="not page"):
        ToolPages(Pipeline().view).prepare(tool())


def test_a_page_says_nothing_of_what_a_tool_does_not_have():
    plain = page(tool(input_schema={"type": "object"}))
    assert "category" not in plain
    assert "|" not in plain
    assert "category money" in page(tool(category="money"))


def test_a_tool_with_tags_alone_is_filed_under_them_alone():
    assert "Filed under: pets\n" in page(tool(tags=("pets",)))
    assert "Filed under: category money, pets\n" in page(tool(tags=("pets",), category="money"))
