"""A google.protobuf.FileDescriptorSet, indexed: names to declarations, with their comments and custom options.

Descriptions come from elsewhere, so nothing here recurses over them: what a method reaches is found with a list.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject

MAX_DECLARATIONS = 50_000
"""Messages, enumerations and services of one description; a bomb has more."""
_MESSAGE_FIELD, _NESTED, _ENUM, _SERVICE, _METHOD = 2, 3, 5, 6, 2
"""Field numbers in descriptor.proto, of which the paths of comments are made."""


class UnknownType(Exception):
    """A message or enumeration that the description does not declare; the text is its name."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A message, enumeration, service or method as descriptor.proto has it."""

    name: str
    """Full name, without a leading dot."""
    proto: Any
    file: Any
    path: tuple[int, ...]
    """Where it stands in its file (SourceCodeInfo.Location.path)."""
    parent: str | None = None
    """The message that it is declared in."""

    @property
    def is_proto3(self) -> bool:
        return bool(self.file.syntax == "proto3")


class Descriptors:
    """Raises InvalidInput for bytes that are no descriptor set."""

    def __init__(self, data: bytes) -> None:
        try:
            self._files = descriptor_pb2.FileDescriptorSet.FromString(data)
        except DecodeError:
            raise InvalidInput("is no google.protobuf.FileDescriptorSet") from None
        self.types: dict[str, Declaration] = {}
        self.services: dict[str, Declaration] = {}
        self._comments: dict[str, dict[tuple[int, ...], str]] = {}
        for file in self._files.file:
            self._index(file)

    @classmethod
    def of_text(cls, text: str) -> "Descriptors":
        """From base64. Raises InvalidInput."""
        try:
            return cls(base64.b64decode(text, validate=True))
        except ValueError:
            raise InvalidInput("is no base64 (RFC 4648 section 4)") from None

    @property
    def last_file(self) -> Any:
        """The file that protoc was asked for: those that it imports come before it. None: there are no files."""
        return self._files.file[-1] if self._files.file else None

    def type(self, name: str) -> Declaration:
        """Raises UnknownType."""
        declared = self.types.get(name.lstrip("."))
        if declared is None:
            raise UnknownType(name.lstrip("."))
        return declared

    def methods(self, service: Declaration) -> Iterator[Declaration]:
        for number, method in enumerate(service.proto.method):
            path = (*service.path, _METHOD, number)
            yield Declaration(f"{service.name}/{method.name}", method, service.file, path)

    def comment(self, declared: Declaration, *below: int) -> str:
        """The comment before a declaration, or before what stands `below` it; else the one behind it on its line."""
        file = declared.file
        comments = self._comments.get(file.name)
        if comments is None:
            comments = self._comments[file.name] = {
                tuple(location.path): location.leading_comments or location.trailing_comments
                for location in file.source_code_info.location
                if location.leading_comments or location.trailing_comments
            }
        return comments.get((*declared.path, *below), "").strip()

    def field_comment(self, declared: Declaration, number: int) -> str:
        """`number` counts the fields of a message, or the values of an enumeration, from 0."""
        return self.comment(declared, _MESSAGE_FIELD, number)

    def options(self, kind: str, options: Any) -> JsonObject:
        """Options as JSON, custom ones as `[google.api.http]`, where the description declares them. `kind`:
        FieldOptions, MethodOptions, ..."""
        if not options.ByteSize():
            return {}
        try:
            descriptor = self._pool.FindMessageTypeByName(f"google.protobuf.{kind}")
            message = message_factory.GetMessageClass(descriptor).FromString(options.SerializeToString())
            return dict(json_format.MessageToDict(message, descriptor_pool=self._pool))
        except (KeyError, DecodeError, TypeError, ValueError, json_format.Error):
            return {}

    def builds(self, name: str) -> bool:
        """True if protobuf takes the file that declares the message, and makes a class of it."""
        try:
            message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))
        except (KeyError, TypeError, ValueError, RecursionError):
            return False
        return True

    @cached_property
    def _pool(self) -> Any:
        """All that can be built. Custom options cannot be declared without descriptor.proto."""
        pool = descriptor_pool.DescriptorPool()
        for file in self._ordered:
            try:
                pool.AddSerializedFile(file.SerializeToString())
            except (TypeError, ValueError, KeyError):
                continue  # what it imports is missing: options that it declares stay unread
        return pool

    @cached_property
    def _ordered(self) -> list[Any]:
        return _in_order(self._files.file)

    def closure(self, names: Iterable[str]) -> list[str]:
        """The types that these types reach, themselves first, nearest first. Raises UnknownType."""
        reached = dict.fromkeys(self.type(name).name for name in names)
        waiting = [*reached]
        for name in waiting:  # grows while it is walked
            for field in getattr(self.types[name].proto, "field", ()):
                if field.type_name and (found := self.type(field.type_name).name) not in reached:
                    reached[found] = None
                    waiting.append(found)
        return waiting

    def pruned(self, names: Iterable[str]) -> bytes:
        """A serialised FileDescriptorSet that declares these types alone: every tool carries its own, and that of a
        large API must not be carried a hundred times."""
        wanted = set(names)
        for name in [*wanted]:
            parent = self.types[name].parent
            while parent is not None:
                wanted.add(parent)
                parent = self.types[parent].parent
        whole = set(names)
        kept: dict[str, list[Declaration]] = {}
        for name in wanted:
            kept.setdefault(self.types[name].file.name, []).append(self.types[name])
        result = descriptor_pb2.FileDescriptorSet()
        for file in self._ordered:
            if file.name in kept:
                result.file.append(_pruned_file(file, kept[file.name], wanted, whole, self.types))
        return bytes(result.SerializeToString(deterministic=True))

    def _index(self, file: Any) -> None:
        prefix = f"{file.package}." if file.package else ""
        waiting: list[tuple[str, Any, tuple[int, ...], str | None]] = [
            (f"{prefix}{message.name}", message, (4, number), None) for number, message in enumerate(file.message_type)
        ]
        for number, enum in enumerate(file.enum_type):
            self._declare(Declaration(f"{prefix}{enum.name}", enum, file, (5, number)))
        while waiting:
            name, message, path, parent = waiting.pop()
            self._declare(Declaration(name, message, file, path, parent))
            for number, inner in enumerate(message.nested_type):
                waiting.append((f"{name}.{inner.name}", inner, (*path, _NESTED, number), name))
            for number, enum in enumerate(message.enum_type):
                self._declare(Declaration(f"{name}.{enum.name}", enum, file, (*path, 4, number), name))
        for number, service in enumerate(file.service):
            name = f"{prefix}{service.name}"
            self.services.setdefault(name, Declaration(name, service, file, (_SERVICE, number)))
            self._check_count()

    def _declare(self, declared: Declaration) -> None:
        self.types.setdefault(declared.name, declared)
        self._check_count()

    def _check_count(self) -> None:
        if len(self.types) + len(self.services) > MAX_DECLARATIONS:
            raise InvalidInput(f"declares more than {MAX_DECLARATIONS} messages, enumerations and services")


def is_enum(declared: Declaration) -> bool:
    return isinstance(declared.proto, descriptor_pb2.EnumDescriptorProto)


def _in_order(files: Iterable[Any]) -> list[Any]:
    """Each file after those that it imports; what imports itself stays where it is found to."""
    by_name = {file.name: file for file in files}
    ordered: dict[str, Any] = {}
    for root in by_name:
        trail: list[tuple[str, bool]] = [(root, False)]
        on_way: set[str] = set()
        while trail:
            name, is_done = trail.pop()
            if is_done:
                ordered.setdefault(name, by_name[name])
            elif name in by_name and name not in ordered and name not in on_way:
                on_way.add(name)
                trail.append((name, True))
                trail += [(dependency, False) for dependency in by_name[name].dependency]
    return [*ordered.values()]


def _pruned_file(
    file: Any, kept: list[Declaration], wanted: set[str], whole: set[str], types: dict[str, Declaration]
) -> Any:
    """`kept`: the declarations of the file that stay, of which those named in `whole` with their fields; the rest are
    the messages around those."""
    result = descriptor_pb2.FileDescriptorProto(name=file.name, package=file.package)
    if file.syntax:  # none is proto2, and an empty one does not build
        result.syntax = file.syntax
    if file.syntax == "editions":
        result.edition = file.edition
        result.options.features.CopyFrom(file.options.features)
    needed: set[str] = set()
    for declared in sorted(kept, key=lambda declared: declared.path):
        if declared.parent is None and is_enum(declared):
            result.enum_type.add().CopyFrom(_plain(declared.proto))
        elif declared.parent is None:
            _prune_into(result.message_type.add(), declared.proto, declared.name, wanted, whole)
        if declared.name in whole:
            for field in getattr(declared.proto, "field", ()):
                if field.type_name:
                    needed.add(types[field.type_name.lstrip(".")].file.name)
    result.dependency.extend(sorted(needed - {file.name}))
    return result


def _prune_into(result: Any, message: Any, name: str, wanted: set[str], whole: set[str]) -> None:
    result.name = message.name
    if name in whole:
        result.field.extend(_plain(field) for field in message.field)
        result.oneof_decl.extend(descriptor_pb2.OneofDescriptorProto(name=oneof.name) for oneof in message.oneof_decl)
        if message.options.map_entry:
            result.options.map_entry = True
        if message.options.HasField("features"):
            result.options.features.CopyFrom(message.options.features)
    for enum in message.enum_type:
        if f"{name}.{enum.name}" in wanted:
            result.enum_type.add().CopyFrom(_plain(enum))
    for inner in message.nested_type:
        if f"{name}.{inner.name}" in wanted:
            _prune_into(result.nested_type.add(), inner, f"{name}.{inner.name}", wanted, whole)


def _plain(proto: Any) -> Any:
    """A field or enumeration with the options that change its encoding, and without those that explain it."""
    plain = type(proto)()
    plain.CopyFrom(proto)
    plain.ClearField("options")
    for name in ("packed", "allow_alias", "features"):
        if name in proto.options.DESCRIPTOR.fields_by_name and proto.options.HasField(name):
            value = getattr(proto.options, name)
            if name == "features":
                plain.options.features.CopyFrom(value)
            else:
                setattr(plain.options, name, value)
    for value in getattr(plain, "value", ()):
        value.ClearField("options")
    return plain
