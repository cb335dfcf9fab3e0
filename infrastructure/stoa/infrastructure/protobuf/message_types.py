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

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded, JsonAllowance
from stoa.infrastructure.protobuf.message_json import JsonPlans
from stoa.infrastructure.protobuf.message_plan import MessagePlans, Unplanned
from stoa.infrastructure.protobuf.schema import WELL_KNOWN

_NOT_TAKEN = (ValueError, TypeError, AttributeError, RecursionError, OverflowError)
"""Errors that protobuf raises for values that a message cannot hold."""


class Undecodable(ValueError):
    """Bytes that are no message of the declared type, or that have no JSON form."""


class TooManyValues(Undecodable):
    """A message with more values than are read, or whose JSON would be larger than is made."""


class Unencodable(ValueError):
    """A value that the schema allows and the message does not have; the text says why."""


class MessagePool:
    """The messages of one descriptor set."""

    def __init__(self, descriptors: str) -> None:
        """`descriptors`: a FileDescriptorSet in base64, imports first. Raises InvalidInput if it does not build."""
        self.pool = descriptor_pool.DescriptorPool()
        self.files: list[Any] = []
        try:
            for file in descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(descriptors)).file:
                self.pool.AddSerializedFile(file.SerializeToString())
                self.files.append(self.pool.FindFileByName(file.name))
        except (DecodeError, TypeError, ValueError, KeyError) as problem:
            raise InvalidInput("the descriptors do not fit together") from problem
        self._plans = MessagePlans(self.pool)
        self._json = JsonPlans(self.pool)

    def message(self, name: str) -> "MessageType":
        """Raises InvalidInput for a message that is not declared."""
        try:
            made = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))
            return MessageType(self.pool, made, self._plans, self._json)
        except (TypeError, ValueError, KeyError, AttributeError) as problem:
            raise InvalidInput(f"the descriptors do not declare {name}, or not all that it needs") from problem
        except RecursionError as problem:
            raise InvalidInput(f"messages within {name} nest too deep") from problem

    def any_to_json(self, message: Any) -> JsonObject:
        """A google.protobuf.Any as JSON; with UNREAD where its type is not declared here. Raises AllowanceExceeded."""
        return self._json.any_to_json(message, JsonAllowance())


class MessageType:
    """One message, from JSON and to JSON. A message that is no JSON object (Timestamp, Value, ...) stands below the
    property `value`, as its schema has it."""

    def __init__(self, pool: Any, made: Any, plans: MessagePlans, json_plans: JsonPlans) -> None:
        self._pool = pool
        self._made = made
        self._parsed = json_plans.parsed
        self._from_json, self._to_json = plans.from_json(made.DESCRIPTOR), json_plans.to_json(made.DESCRIPTOR)
        self.descriptor = made.DESCRIPTOR
        self.name = str(self.descriptor.full_name)
        self._is_value = self.name in WELL_KNOWN and WELL_KNOWN[self.name].get("type") != "object"

    def encode(self, value: JsonObject) -> bytes:
        """Raises Unencodable."""
        content: Any = value
        if self._is_value:
            if "value" not in value:
                return b""
            content = value["value"]
        try:
            return bytes(self._message(content).SerializeToString(deterministic=True))
        except (json_format.ParseError, EncodeError, *_NOT_TAKEN) as problem:
            raise Unencodable(f"a {self.name}: {problem}") from None

    def _message(self, content: Any) -> Any:
        try:
            return self._from_json(content, 0)
        except (Unplanned, json_format.ParseError, *_NOT_TAKEN):  # json_format takes it after all, or says why not
            return json_format.ParseDict(content, self._made(), descriptor_pool=self._pool)

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> JsonObject:
        """`allowance`: of the answer that the message is a part of; None: it has one of its own. Raises Undecodable."""
        try:
            content = self._to_json(self._parsed(self._made, data), allowance or JsonAllowance())
        except AllowanceExceeded:
            raise TooManyValues("more values, or longer names of them, than are read") from None
        except (DecodeError, *_NOT_TAKEN):  # AttributeError: a well-known type that is declared in another way
            raise Undecodable from None
        return content if not self._is_value and is_object(content) else {"value": content}
