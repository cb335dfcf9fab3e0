"""Server reflection (grpc.reflection.v1, then v1alpha): what a live server says of its services, bounded and ordered.

Both versions have the same messages on the wire; grpcio-reflection ships those of v1alpha.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection_pb2  # type: ignore[import-untyped]

import grpc  # type: ignore[import-untyped]
from stoa.domain.errors import BackendUnavailable, InvalidInput, Unavailable
from stoa.infrastructure.grpc.reflection_process import ReflectionDenied
from stoa.infrastructure.grpc.status import unavailability

MAX_FILES = 3000
MAX_BYTES = 16 * 1024 * 1024
TIMEOUT_SECONDS = 30.0
_VERSIONS = ("v1", "v1alpha")
_ATTEMPTS = 3
"""A server that lacks a version closes the stream while the question is still being written. gRPC then sees either its
UNIMPLEMENTED or the reset of the stream, which is INTERNAL, so INTERNAL alone is not believed at once."""
_OWN = "grpc.reflection."
_Question = reflection_pb2.ServerReflectionRequest


async def reflected(channel: Any, where: str, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A serialised FileDescriptorSet of all services but reflection itself; equal for an unchanged server. `where`:
    names the server. Raises InvalidInput (no reflection), ReflectionDenied or Unavailable."""
    refusal: Any = None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for version in _VERSIONS * _ATTEMPTS:
                try:
                    return await _Conversation(channel, version, metadata, where).descriptor_set()
                except grpc.aio.AioRpcError as error:
                    if error.code() not in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}:
                        raise _translated(error, where) from None
                    if refusal is not None and {refusal.code(), error.code()} == {grpc.StatusCode.UNIMPLEMENTED}:
                        break
                    refusal = error
    except TimeoutError:
        raise Unavailable(f"{where}: no complete answer within {TIMEOUT_SECONDS:g} s") from None
    if refusal.code() is grpc.StatusCode.INTERNAL:
        raise _translated(refusal, where)
    raise InvalidInput(f"{where}: the server has no reflection; set descriptorSet or protos, and target for the calls")


def _translated(error: Any, where: str) -> Exception:
    code = error.code()
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return ReflectionDenied(
            f"{where}: reflection is not allowed; set toolDefaults.authentication, or descriptorSet"
        )
    reason = f": {unavailability(error)[0]}" if code is grpc.StatusCode.UNAVAILABLE else ""
    return Unavailable(f"{where}: no answer to reflection ({code.name}{reason})")


class _Conversation:
    """One stream of questions and answers."""

    def __init__(self, channel: Any, version: str, metadata: Iterable[tuple[str, str]], where: str) -> None:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        self._open = channel.stream_stream(
            path,
            request_serializer=_Question.SerializeToString,
            response_deserializer=None,
        )
        self._metadata = tuple(metadata)
        self._where = where
        self._files: dict[str, Any] = {}
        self._bytes = 0

    async def descriptor_set(self) -> bytes:
        call = self._open(timeout=TIMEOUT_SECONDS, metadata=self._metadata)
        try:
            listed = await self._ask(call, _Question(list_services=""))
            names = sorted({service.name for service in listed.list_services_response.service})
            for name in names:
                if not name.startswith(_OWN):
                    await self._take(call, _Question(file_containing_symbol=name))
            waiting = sorted(self._files)
            for file in waiting:  # grows while it is walked
                for imported in self._files[file].dependency:
                    if imported not in self._files:
                        waiting += sorted(await self._take(call, _Question(file_by_filename=imported)))
        finally:
            call.cancel()
        whole = descriptor_pb2.FileDescriptorSet(file=[self._files[name] for name in sorted(self._files)])
        return bytes(whole.SerializeToString(deterministic=True))

    async def _take(self, call: Any, question: Any) -> list[str]:
        """The names of the files that an answer brought. One that the server does not have is left to the converter,
        which says what cannot be offered without it."""
        answer = await self._ask(call, question)
        taken: list[str] = []
        for data in answer.file_descriptor_response.file_descriptor_proto:
            try:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
            except DecodeError:
                raise InvalidInput(f"{self._where}: reflection answered what is no FileDescriptorProto") from None
            if file.name not in self._files:
                self._files[file.name] = file
                taken.append(file.name)
                self._bytes += len(data)
        if self._bytes > MAX_BYTES or len(self._files) > MAX_FILES:
            raise InvalidInput(f"{self._where}: reflection gave more than {MAX_BYTES} bytes or {MAX_FILES} files")
        return taken

    async def _ask(self, call: Any, question: Any) -> Any:
        await call.write(question)
        data = await call.read()
        if not isinstance(data, bytes):  # grpc.aio.EOF
            code = await call.code()
            raise _ended(code, self._where)
        try:
            return reflection_pb2.ServerReflectionResponse.FromString(data)
        except DecodeError:
            raise InvalidInput(f"{self._where}: reflection answered what is no ServerReflectionResponse") from None


def _ended(code: Any, where: str) -> BaseException:
    if code is grpc.StatusCode.OK:
        return Unavailable(f"{where}: the server ended reflection before it had answered")
    return BackendUnavailable(f"{where}: {code.name}")
