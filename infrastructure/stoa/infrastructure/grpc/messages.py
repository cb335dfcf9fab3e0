"""Dynamic messages: classes made from descriptors at registration, and JSON to wire format and back."""

import base64
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
)
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.grpc.message_plan import MessagePlans, Unplanned
from stoa.infrastructure.grpc.schema import WELL_KNOWN

_NOT_TAKEN = (ValueError, TypeError, AttributeError, RecursionError, OverflowError)
"""What protobuf raises for values that a message cannot hold."""


class Undecodable(ValueError):
    """Bytes that are no message of the declared type, or that have no JSON form."""


class MessageCodec:
    """Requests from JSON, and responses to JSON, of one method. Raises InvalidInput for descriptors that do not
    build."""

    def __init__(self, descriptors: str, request_type: str, response_type: str) -> None:
        pool = descriptor_pool.DescriptorPool()
        try:
            for file in descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(descriptors)).file:
                pool.AddSerializedFile(file.SerializeToString())
            self._request = message_factory.GetMessageClass(pool.FindMessageTypeByName(request_type))
            self._response = message_factory.GetMessageClass(pool.FindMessageTypeByName(response_type))
        except (DecodeError, TypeError, ValueError, KeyError) as problem:
            raise InvalidInput(
                f"the descriptors of {request_type} and {response_type} do not fit together"
            ) from problem
        self.pool = pool
        plans = MessagePlans(pool)
        self._from_json, self._to_json = (
            plans.from_json(self._request.DESCRIPTOR),
            plans.to_json(self._response.DESCRIPTOR),
        )
        self._request_is_value = _is_value(request_type)
        self._response_is_value = _is_value(response_type)

    def encode(self, value: JsonObject) -> bytes:
        """One request. Raises InvalidArguments for what the schema allows and the message does not."""
        content: Any = value
        if self._request_is_value:
            if "value" not in value:
                return b""
            content = value["value"]
        try:
            return bytes(self._message(content).SerializeToString())
        except (json_format.ParseError, EncodeError, *_NOT_TAKEN) as problem:
            raise InvalidArguments([Violation("", f"a {self._request.DESCRIPTOR.full_name}: {problem}")]) from None

    def _message(self, content: Any) -> Any:
        try:
            return self._from_json(content, 0)
        except (Unplanned, json_format.ParseError, *_NOT_TAKEN):  # json_format takes it after all, or says why not
            return json_format.ParseDict(content, self._request(), descriptor_pool=self.pool)

    def _content(self, message: Any) -> Any:
        try:
            return self._to_json(message)
        except Unplanned:
            return json_format.MessageToDict(message, descriptor_pool=self.pool)

    def decode(self, data: bytes) -> JsonObject:
        """One response, as an object. Raises Undecodable."""
        try:
            message = self._response.FromString(data)
            content = self._content(message)
        except (DecodeError, json_format.Error, ValueError, TypeError, RecursionError):
            raise Undecodable from None
        return content if not self._response_is_value and is_object(content) else {"value": content}


def _is_value(name: str) -> bool:
    """The JSON of this message is no object, so it stands below `value`."""
    return name in WELL_KNOWN and WELL_KNOWN[name].get("type") != "object"
