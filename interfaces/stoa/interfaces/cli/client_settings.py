"""Configuration of MCP clients for a gateway, with a token in a header, ready to be pasted."""

import json

from stoa.domain.schema.json_value import JsonObject

TOKEN_VARIABLE = "STOA_TOKEN"  # noqa: S105  # the variable's name


def client_settings(url: str, token: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a client (with the file of its configuration) and the text to put there.

    `url` is that of the MCP endpoint; `token` may be a variable where the client or its shell replaces it.
    """
    bearer = f"Bearer {token}"
    headers: JsonObject = {"Authorization": bearer}
    entry: JsonObject = {"url": url, "headers": headers}
    typed: JsonObject = {"type": "http", **entry}
    copilot: JsonObject = {**typed, "tools": ["*"]}
    remote: JsonObject = {"type": "remote", **entry}
    continued: JsonObject = {
        "name": "stoa",
        "type": "streamable-http",
        "url": url,
        "requestOptions": {"headers": headers},
    }
    codex = f"export {TOKEN_VARIABLE}={token}; codex mcp add stoa --url {url} --bearer-token-env-var {TOKEN_VARIABLE}"
    return (
        ("Claude Code", f'claude mcp add --transport http stoa {url} --header "Authorization: {bearer}"'),
        ("Codex", codex),
        ("Cursor (.cursor/mcp.json)", _servers(entry)),
        ("VS Code (.vscode/mcp.json)", json.dumps({"servers": {"stoa": typed}})),
        ("Copilot CLI (~/.copilot/mcp-config.json)", _servers(copilot)),
        ("Gemini CLI (.gemini/settings.json)", _servers({"httpUrl": url, "headers": headers})),
        ("Cline (cline_mcp_settings.json)", _servers({**entry, "type": "streamableHttp"})),
        ("Windsurf (~/.codeium/windsurf/mcp_config.json)", _servers({"serverUrl": url, "headers": headers})),
        ("Zed (settings.json)", json.dumps({"context_servers": {"stoa": entry}})),
        ("Continue (config.yaml, which reads JSON too)", json.dumps({"mcpServers": [continued]})),
        ('opencode (opencode.json; version 1 has no "servers")', json.dumps({"mcp": {"servers": {"stoa": remote}}})),
    )


def _servers(entry: JsonObject) -> str:
    return json.dumps({"mcpServers": {"stoa": entry}})
