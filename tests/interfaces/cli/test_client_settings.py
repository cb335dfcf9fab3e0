"""Configuration of MCP clients: the demo prints the first, docs/connect-a-client.md shows all."""

import json
from typing import Any

import pytest

from stoa.interfaces.cli.client_settings import client_settings

URL, TOKEN = "http://127.0.0.1:8080/mcp", "aaa.bbb.ccc"
SHOWN = dict(client_settings(URL, TOKEN))
WANTED = "Claude Code, Codex, Cursor, VS Code, Copilot CLI, Gemini CLI, Cline, Windsurf, Zed, Continue, opencode"


def test_client_settings_are_printed_for_each_client_with_url_and_token() -> None:
    assert [name.partition(" (")[0] for name in SHOWN] == WANTED.split(", ")
    assert all(URL in text and TOKEN in text for text in SHOWN.values())


def _members(value: Any) -> dict[str, Any]:
    """Members of all objects in it, by name."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    return {**value, **{k: v for inner in value.values() for k, v in _members(inner).items()}}


@pytest.mark.parametrize("client", [name for name in SHOWN if "(" in name])
def test_client_settings_that_go_into_a_file_are_json_with_the_header(client: str) -> None:
    members = _members(json.loads(SHOWN[client]))
    assert members["Authorization"] == f"Bearer {TOKEN}"
    assert URL in (members.get("url"), members.get("httpUrl"), members.get("serverUrl"))
