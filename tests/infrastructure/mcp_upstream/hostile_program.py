"""A program that breaks the protocol over stdio in the way that its first argument names."""

import json
import os
import sys
import time


def say(**members):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **members}) + "\n")
    sys.stdout.flush()


def answer(request):
    match request.get("method"):
        case "initialize":
            said = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "h"}}
            say(id=request["id"], result=said)
        case "tools/list":
            say(id=request["id"], result={"tools": [{"name": "bad", "inputSchema": {"type": "object"}},
                                                    {"name": "good", "inputSchema": {"type": "object"}}]})  # fmt: skip
        case "tools/call" if request["params"]["name"] == "good":
            say(id=request["id"], result={"content": [{"type": "text", "text": "good"}]})
        case "tools/call":
            misbehave(sys.argv[1], request["id"])
        case _ if "id" in request:
            say(id=request["id"], error={"code": -32601, "message": "Method not found"})


def write_without_end(text):
    while True:
        sys.stdout.write(text)


def misbehave(how, request_id):
    match how:
        case "dies":
            print("secret is", os.environ.get("TOKEN"), file=sys.stderr, flush=True)
            os._exit(7)
        case "huge":
            sys.stdout.write('{"jsonrpc":"2.0","id":1,"result":{"x":"')
            write_without_end("x" * 1024 * 1024)
        case "floods":
            while True:
                say(method="notifications/message", params={"level": "info", "data": "x"})
        case "blank":
            write_without_end("\n" * 10_000)
        case "noise" | "chatter":
            print("this is no message\n" * (2000 if how == "chatter" else 1))
            say(id=request_id, result={"content": [{"type": "text", "text": "well"}]})
        case "silent":
            time.sleep(3600)
        case "asks":
            for number in range(200):
                say(id=f"q{number}", method="roots/list", params={})
            time.sleep(3600)
        case "stranger":
            say(id=424242, result={"content": []})
            say(id=request_id, result={"content": "no list"})


for line in sys.stdin:
    answer(json.loads(line))
