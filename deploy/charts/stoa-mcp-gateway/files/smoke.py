"""The checks of `helm test`, with the standard library alone: ready, guarded, and with TOKEN it lists tools.

GATEWAY_URL: the Service. RESOURCE: the gateway's identifier to clients, PUBLIC_URL/mcp. TOKEN: an access token, or
nothing.
"""

import json
import os
import sys
import urllib.error
import urllib.request

GATEWAY, RESOURCE, TOKEN = os.environ["GATEWAY_URL"], os.environ["RESOURCE"], os.environ.get("TOKEN")


def ask(path: str, message: dict | None = None, token: str | None = None) -> tuple[int, str, str]:
    """The status, the challenge and the body of an answer."""
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = None if message is None else json.dumps(message).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(GATEWAY + path, body, headers), timeout=10) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers.get("WWW-Authenticate", ""), refused.read().decode()


def check(what: str, is_so: bool, seen: object) -> None:
    print(f"{'ok' if is_so else 'FAILED'}: {what}" + ("" if is_so else f": {seen}"), flush=True)
    if not is_so:
        sys.exit(1)


def result_of(body: str) -> dict:
    """The result of a JSON-RPC response, sent as JSON or as one server-sent event."""
    lines = [line[5:] for line in body.splitlines() if line.startswith("data:")]
    return json.loads(lines[-1] if lines else body).get("result", {})


status, _, body = ask("/ready")
check("the gateway is ready", status == 200, body)

list_tools = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
status, challenge, body = ask("/mcp", list_tools)
check("a request without a token is refused with a challenge", status == 401 and "resource_metadata" in challenge, body)

status, _, body = ask("/.well-known/oauth-protected-resource/mcp")
metadata = json.loads(body) if status == 200 else {}
check(f"clients are told to log in for {RESOURCE}", metadata.get("resource") == RESOURCE, body)

if TOKEN:
    status, _, body = ask("/mcp", list_tools, TOKEN)
    check("a caller with a token lists tools", status == 200 and "tools" in result_of(body), f"{status} {body}")
