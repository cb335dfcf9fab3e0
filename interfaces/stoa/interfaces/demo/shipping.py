"""A gRPC service of the demo, for those who have the extra `grpc`: where parcels are."""

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

_PROTO = Path(__file__).parent / "shipping.proto"
_PLACES = [
    {"name": "Hamburg", "reached": "2026-03-02T08:00:00Z"},
    {"name": "Hannover", "reached": "2026-03-02T14:30:00Z"},
]
_MANIFEST = """\
apiVersion: gostoa.dev/v1alpha1
kind: ToolSet
metadata: {{name: shipping}}
spec:
  displayName: Parcels, over gRPC
  grpc: {{target: '{target}', protos: [shipping.proto]}}
  toolDefaults: {{timeout: 5s}}
"""


def is_installed() -> bool:
    return find_spec("grpc") is not None and find_spec("grpc_tools") is not None


@asynccontextmanager
async def serving_shipping(catalogue: Path) -> AsyncGenerator[None]:
    """The service on a free loopback port, and its manifest in `catalogue`."""
    import grpc  # type: ignore[import-untyped]

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handlers(grpc),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    (catalogue / _PROTO.name).write_text(_PROTO.read_text(encoding="utf-8"), encoding="utf-8")
    manifest = _MANIFEST.format(target=f"grpc://127.0.0.1:{port}")
    (catalogue / "shipping.yaml").write_text(manifest, encoding="utf-8")
    try:
        yield
    finally:
        await server.stop(None)


def _handlers(grpc: Any) -> Any:
    from google.protobuf import json_format  # type: ignore[import-untyped]

    types = _messages()

    async def track(parcel: Any, context: Any) -> Any:
        if not parcel.number.startswith("P-"):
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such parcel; numbers begin with P-")
        content = {"number": parcel.number, "state": "ON_ITS_WAY", "places": _PLACES}
        return json_format.ParseDict(content, types["Route"]())

    async def follow(parcel: Any, context: Any) -> AsyncIterator[Any]:
        for place in (await track(parcel, context)).places:
            yield place

    def encode(message: Any) -> bytes:
        return bytes(message.SerializeToString())

    decode = types["Parcel"].FromString
    return grpc.method_handlers_generic_handler(
        "demo.shipping.v1.Shipping",
        {
            "Track": grpc.unary_unary_rpc_method_handler(track, decode, encode),
            "Follow": grpc.unary_stream_rpc_method_handler(follow, decode, encode),
        },
    )


def _messages() -> dict[str, Any]:
    """Classes of the messages, by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from grpc_tools import protoc  # type: ignore[import-untyped]

    shipped = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory(prefix="stoa-demo-") as folder:
        out = Path(folder) / "shipping.binpb"
        paths = [f"-I{_PROTO.parent}", f"-I{shipped}"]
        compile_protos = cast("Callable[[list[str]], int]", protoc.main)  # pyright: ignore[reportUnknownMemberType]
        if compile_protos(["protoc", *paths, "--include_imports", f"--descriptor_set_out={out}", str(_PROTO)]):
            raise RuntimeError("protoc does not take the demo's shipping.proto")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    names = ("Parcel", "Place", "Route")
    found = {name: pool.FindMessageTypeByName(f"demo.shipping.v1.{name}") for name in names}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}
