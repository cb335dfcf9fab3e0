"""The gRPC back end of the benchmark, and the messages that its callers share.

BENCH_DESCRIPTORS=items.binpb python -m bench.grpc_server PORT
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class Messages:
    """Classes made from a descriptor set, as `items.proto` describes them."""

    def __init__(self, descriptors: Path) -> None:
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            pool.AddSerializedFile(file.SerializeToString())

        def made(name: str) -> Any:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bench.{name}"))

        self.request, self.item, self.nothing, self.seen = map(made, ("ItemRequest", "Item", "Nothing", "Seen"))


async def serve(port: int, messages: Messages) -> None:
    requests = 0

    async def get_item(request: Any, _: Any) -> Any:
        nonlocal requests
        requests += 1
        return messages.item(id=request.id, name=f"Item {request.id}", query=request.q, price=12.5, in_stock=True)

    async def count(_request: Any, _: Any) -> Any:
        return messages.seen(requests=requests)

    def method(handler: Any, request: Any, answer: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(handler, request.FromString, answer.SerializeToString)

    methods = {
        "GetItem": method(get_item, messages.request, messages.item),
        "Count": method(count, messages.nothing, messages.seen),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Items", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Messages(Path(os.environ["BENCH_DESCRIPTORS"]))))
