"""The official Python client is told and asked by the tools of examples/everything.py, in both eras of the protocol."""

from collections.abc import Iterator
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResultWithTools,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    SamplingCapability,
    SamplingToolsCapability,
    TextContent,
    ToolResultContent,
    ToolUseContent,
)
from tests.e2e.answering import CALLBACKS, connected, is_asked_everything, text_of
from tests.e2e.processes import serving_everything

MODES = ["legacy", "auto", "2026-07-28"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_everything(tmp_path_factory.mktemp("everything")) as url:
        yield url


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_asks_the_model_the_user_and_for_the_folders(url: str, mode: str) -> None:
    async with connected(url, mode, **CALLBACKS) as client:
        await is_asked_everything(client)


async def _at_work(_: Any, params: CreateMessageRequestParams) -> CreateMessageResultWithTools:
    """A model that looks at the clock before it answers."""
    last = params.messages[-1].content
    if isinstance(last, ToolResultContent):
        (seen,) = last.content
        said: Any = TextContent(type="text", text=f"{params.max_tokens} {isinstance(seen, TextContent)}")
    else:
        assert params.tools is not None
        said = ToolUseContent(type="tool_use", id="u1", name=params.tools[0].name, input={})
    return CreateMessageResultWithTools(role="assistant", content=[said], model="m")


async def _opened(_: Any, params: ElicitRequestParams) -> ElicitResult:
    assert isinstance(params, ElicitRequestURLParams)
    assert params.url == "https://login.example/mail%20box"
    return ElicitResult(action="accept")


@pytest.mark.parametrize("mode", MODES)
async def test_a_model_uses_tools_and_a_user_is_sent_to_a_page(url: str, mode: str) -> None:
    can = SamplingCapability(tools=SamplingToolsCapability())
    callbacks = {"sampling_callback": _at_work, "elicitation_callback": _opened, "sampling_capabilities": can}
    async with connected(url, mode, **callbacks) as client:
        assert await text_of(client, "agent", task="How late is it?") == "500 True"
        assert await text_of(client, "connect", service="mail box") == "The user said: accept"


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_tells_how_far_it_is(url: str, mode: str) -> None:
    seen: list[tuple[float, float | None]] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        assert message is not None
        seen.append((progress, total))

    async with connected(url, mode) as client:
        await client.call_tool("test_tool_with_progress", {}, progress_callback=progressed)
    assert seen == [(0, 100), (50, 100), (100, 100)]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_cannot_be_asked_is_told_so(url: str, mode: str) -> None:
    async with connected(url, mode) as client:
        if mode == "legacy":
            assert (await client.call_tool("test_missing_capability", {})).is_error
        else:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("test_missing_capability", {})
            assert refused.value.code == -32021
