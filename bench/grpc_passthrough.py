"""The yardstick for gRPC: the least that turns a tools/call into a unary call and its answer into a result, with
dynamic messages and grpc.aio; no governance.

    BENCH_UPSTREAM=127.0.0.1:50051 BENCH_DESCRIPTORS=items.binpb uvicorn bench.grpc_passthrough:app ...
"""

import os
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from pydantic_core import to_json

from bench.grpc_server import Messages
from bench.passthrough import Message, PassThrough


class GrpcPassThrough(PassThrough):
    def __init__(self, upstream: str, messages: Messages) -> None:
        super().__init__(upstream)
        self._messages = messages
        self._channel: Any = None
        self._get_item: Any = None

    async def _open(self) -> None:
        messages = self._messages
        self._channel = grpc.aio.insecure_channel(self._upstream)
        self._get_item = self._channel.unary_unary(
            "/bench.Items/GetItem", messages.request.SerializeToString, messages.item.FromString
        )

    async def _close(self) -> None:
        await self._channel.close()

    async def _call(self, arguments: Message) -> Message:
        item = await self._get_item(json_format.ParseDict(arguments, self._messages.request()))
        content = json_format.MessageToDict(item)
        text = to_json(content).decode()
        return {"content": [{"type": "text", "text": text}], "isError": False, "structuredContent": content}


app = GrpcPassThrough(os.environ["BENCH_UPSTREAM"], Messages(Path(os.environ["BENCH_DESCRIPTORS"])))
