"""What an upstream server offers, as tools, resources and prompts.

Its texts and schemas are others' word: names become legal ones, texts plain and bounded, and a schema that does not
compile costs its tool alone. With `definitions: approved`, what was not approved by its digest is held back.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pydantic
import pydantic_core

from stoa.application.ports import Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.application.schemas.routed_arguments import ANNOTATION, routed_arguments
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, Severity
from stoa.domain.operations.access import Access
from stoa.domain.operations.icon import Icon
from stoa.domain.operations.naming import tool_name, unique
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import ApiReference, Tool, ToolAnnotations
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.infrastructure.mcp_upstream.binding import McpBinding
from stoa.infrastructure.mcp_upstream.manifest import McpSource

DESCRIPTION_LIMIT = 8192
_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_Failure = (pydantic.ValidationError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError)


@dataclass(frozen=True)
class McpConverter(SpecConverter):
    source: McpSource

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        try:
            description = pydantic_core.from_json(document.text)
        except ValueError:
            description = None
        if not is_object(description) or not is_object(description.get("mcp")):
            raise InvalidInput(f"{document.location} line 1: this is not what an MCP server offers")
        return _Conversion(self.source, options, document.location, description).run()


def digest_of(entry: JsonObject) -> str:
    """The identity of a definition: `sha256:` and the digest of its JSON with members in order."""
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def access_of(annotations: JsonObject, *, is_trusted: bool) -> Access:
    """The scope for a tool by its annotations. One that says nothing may write; the protocol's default that it may
    also destroy would demand `stoa:admin` for nearly all tools of the world."""
    if annotations.get("destructiveHint") is True and annotations.get("readOnlyHint") is not True:
        return Access.ADMIN
    return Access.READ if annotations.get("readOnlyHint") is True and is_trusted else Access.WRITE


class _Conversion:
    def __init__(self, source: McpSource, options: ConversionOptions, location: str, description: JsonObject) -> None:
        self._source = source
        self._options = options
        self._location = location
        self._description = description
        self._findings: list[Finding] = []
        server = source.server()
        if options.base_url is not None and server.url is not None:
            server = server.model_copy(update={"url": options.base_url})
        self._server = server
        self._uri_prefix = _scheme_prefix(options.name_prefix)
        about = as_object(as_object(description.get("mcp")).get("server"))
        self._api = options.api.name if options.api else str(about.get("name", "mcp"))
        self._version = str(about["version"])[:64] if "version" in about else None
        self._has_tasks = as_object(description.get("mcp")).get("hasTasks") is True

    def run(self) -> Conversion:
        self._tell_of_selectors()
        tools = [*self._entries("tools", "name", "")] if self._source.tools else []
        prompts = [*self._entries("prompts", "name", "prompt:")] if self._source.prompts else []
        resources: list[tuple[str, JsonObject]] = []
        if self._source.resources:
            resources += self._entries("resources", "uri", "resource:")
            resources += self._entries("resourceTemplates", "uriTemplate", "resource:")
        options = self._options
        operations = [
            *self._made(tools, self._names(tools), self._tool),
            *self._made(prompts, self._names(prompts), self._prompt),
            *self._made(resources, [options.name_prefix + str(entry.get("name", "")) for _, entry in resources],
                        self._resource),
        ]  # fmt: skip
        return Conversion(
            tuple(made for made in operations if isinstance(made, Tool)),
            tuple(self._findings),
            contents=tuple(made for made in operations if isinstance(made, Prompt | Resource)),
        )

    def _entries(self, member: str, key: str, approval_prefix: str) -> Iterator[tuple[str, JsonObject]]:
        """The entries of a list by the upstream's name, without repeated and held back ones."""
        listed, seen = self._description.get(member), set[str]()
        for entry in map(as_object, listed if is_array(listed) else []):
            name = entry.get(key)
            if not isinstance(name, str) or not name or len(name) > 2048:
                self._error(member, f"an entry is left out: its {key} is no text, or is too long")
            elif name in seen:
                self._error(_shown(name), "left out: the server names it twice")
            elif not self._is_selected(name):
                continue
            elif key.startswith("uri") and not self._uri_prefix and name.lower().startswith("stoa:"):
                self._warn(_shown(name), "left out: stoa: URIs are this gateway's own; set spec.naming.prefix")
            elif self._is_approved(approval_prefix + name, entry):
                seen.add(name)
                yield name, entry

    def _is_selected(self, name: str) -> bool:
        return not self._options.operation_ids or name in self._options.operation_ids

    def _is_approved(self, name: str, entry: JsonObject) -> bool:
        if self._source.definitions == "follow":
            return True
        digest, approved = digest_of(entry), self._source.approved.get(name)
        if approved == digest:
            return True
        how = "is new" if approved is None else "has changed since it was approved"
        message = f"held back: it {how}; when you have read it, set spec.mcp.approved {_shown(name)!r} to {digest}"
        self._error(_shown(name), message)
        return False

    def _names(self, entries: list[tuple[str, JsonObject]]) -> list[str]:
        prefix, suffix = self._options.name_prefix, self._options.name_suffix
        return unique_names([legal_name(name, prefix, suffix) for name, _ in entries])

    def _made(self, entries: list[tuple[str, JsonObject]], names: list[str], make: Any) -> Iterator[Operation]:
        for (upstream_name, entry), name in zip(entries, names, strict=True):
            try:
                yield make(upstream_name, name, entry)
            except InvalidInput as refused:
                self._error(_shown(upstream_name), f"left out: {refused.message}")
            except _Failure:
                self._error(_shown(upstream_name), "left out: it cannot be expressed in the catalogue")

    def _tool(self, upstream_name: str, name: str, entry: JsonObject) -> Tool:
        options = self._options
        if as_object(entry.get("execution")).get("taskSupport") == "required":
            raise InvalidInput("it runs as a task of 2025-11-25 only, which this gateway does not speak")
        annotations, schema = as_object(entry.get("annotations")), as_object(entry.get("inputSchema"))
        access = access_of(annotations, is_trusted=self._source.trust_annotations)
        schema = self._checked(upstream_name, {"type": "object", **schema} if "type" not in schema else schema)
        output = entry.get("outputSchema")
        is_read_only = annotations.get("readOnlyHint") is True
        return Tool(
            name=name,
            title=_text(entry.get("title")) or _text(annotations.get("title")),
            input_schema=schema,
            output_schema=self._output(upstream_name, output) if is_object(output) else None,
            annotations=ToolAnnotations(
                read_only_hint=_flag(annotations, "readOnlyHint") if self._source.trust_annotations else None,
                destructive_hint=_flag(annotations, "destructiveHint") if not is_read_only else False,
                idempotent_hint=_flag(annotations, "idempotentHint"),
                open_world_hint=_flag(annotations, "openWorldHint"),
            ),
            binding=McpBinding(
                server=self._server,
                name=upstream_name,
                access=access,
                is_idempotent=True if access is Access.READ else _flag(annotations, "idempotentHint"),
                uri_prefix=self._uri_prefix,
            ),
            tasks="explicit" if self._has_tasks else "never",
            metered_arguments=tuple(
                key for key in options.metered_arguments if key in as_object(schema.get("properties"))
            ),
            **self._common(upstream_name, entry),
        )

    def _checked(self, upstream_name: str, schema: JsonObject) -> JsonObject:
        """The input schema, compiled once. An annotation that clients refuse is taken out of it."""
        if schema.get("type") != "object":
            raise InvalidInput("its inputSchema is not for an object")
        jsonschema_rs.validator_for(schema, offline=True)
        try:
            routed_arguments(schema)
        except InvalidInput as refused:
            self._warn(_shown(upstream_name), f"{refused.message}; {ANNOTATION} is ignored")
            return as_object(_without_routing(schema))
        return schema

    def _output(self, upstream_name: str, schema: JsonObject) -> JsonObject | None:
        try:
            jsonschema_rs.validator_for(schema, offline=True)
        except _Failure:
            self._warn(_shown(upstream_name), "its outputSchema is none and is left out")
            return None
        return schema

    def _prompt(self, upstream_name: str, name: str, entry: JsonObject) -> Prompt:
        listed = entry.get("arguments")
        arguments = [
            PromptArgument(
                name=str(argument.get("name")),
                title=_text(argument.get("title")),
                description=_text(argument.get("description")) or "",
                required=argument.get("required") is True,
            )
            for argument in map(as_object, listed if is_array(listed) else [])
        ]
        return Prompt(
            name=name,
            title=_text(entry.get("title")),
            arguments=tuple(arguments),
            binding=self._reading("prompts/get", upstream_name),
            **self._common(upstream_name, entry),
        )

    def _resource(self, upstream_uri: str, name: str, entry: JsonObject) -> Resource:
        media_type, size = entry.get("mimeType"), entry.get("size")
        return Resource(
            uri=self._uri_prefix + upstream_uri,
            name=_text(name) or "",
            title=_text(entry.get("title")),
            mime_type=media_type[:200] if isinstance(media_type, str) else None,
            size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
            binding=self._reading("resources/read", upstream_uri),
            **self._common(upstream_uri, entry),
        )

    def _reading(self, method: Any, upstream_name: str) -> McpBinding:
        return McpBinding(
            server=self._server,
            method=method,
            name=upstream_name,
            access=Access.READ,
            is_idempotent=True,
            uri_prefix=self._uri_prefix,
        )

    def _common(self, upstream_name: str, entry: JsonObject) -> dict[str, Any]:
        options = self._options
        return {
            "tenant": options.tenant,
            "description": _text(entry.get("description"), DESCRIPTION_LIMIT) or "",
            "icons": options.icons or _icons(entry),
            "tags": options.extra_tags,
            "version": self._version,
            "api": ApiReference(name=self._api, operation_id=upstream_name[:256]),
            "timeout_seconds": options.timeout_seconds,
            "rate_limit": options.rate_limit,
            "authentication": options.authentication,
        }

    def _tell_of_selectors(self) -> None:
        options = self._options
        if options.include_tags or options.exclude_tags or options.methods or options.path_prefix:
            message = "tags, excludeTags, methods and pathPrefix of selector do not apply to MCP; use operationIds"
            self._warn("", message)

    def _error(self, place: str, message: str) -> None:
        self._findings.append(Finding(severity=Severity.ERROR, where=self._where(place), message=message))

    def _warn(self, place: str, message: str) -> None:
        self._findings.append(Finding(severity=Severity.WARNING, where=self._where(place), message=message))

    def _where(self, place: str) -> str:
        return f"{self._location} {place}".strip()


def legal_name(name: str, prefix: str, suffix: str) -> str:
    """The upstream's own name where clients take it, else one made of it."""
    whole = f"{prefix}{name}{suffix}"
    return whole if _LEGAL.fullmatch(whole) else tool_name(name, prefix, suffix)


def unique_names(names: list[str]) -> list[str]:
    """Distinct names; equal ones only come of names that were made."""
    return names if len(set(names)) == len(names) else unique(names)


def _scheme_prefix(name_prefix: str) -> str:
    """`git+` for the prefix `git_`: the URIs of two servers stay apart as their tools do."""
    letters = re.sub(r"[^A-Za-z0-9.-]", "-", name_prefix).strip("-.")
    return f"{letters[:60]}+" if letters and letters[0].isalpha() else ""


def _icons(entry: JsonObject) -> tuple[Icon, ...]:
    """Icons that are whole; one of another form is no reason to leave a tool out."""
    icons: list[Icon] = []
    listed = entry.get("icons")
    for icon in map(as_object, listed[:8] if is_array(listed) else []):
        try:
            icons.append(
                Icon.model_validate(
                    {
                        "src": icon.get("src"),
                        "mime_type": icon.get("mimeType"),
                        "sizes": icon.get("sizes") or (),
                        "theme": icon.get("theme"),
                    }
                )
            )
        except pydantic.ValidationError:
            continue
    return tuple(icons)


def _without_routing(value: Any) -> Any:
    if is_object(value):
        return {name: _without_routing(member) for name, member in value.items() if name != ANNOTATION}
    return [_without_routing(entry) for entry in value] if is_array(value) else value


def _text(value: Any, limit: int = 512) -> str | None:
    if not isinstance(value, str):
        return None
    return value if len(value) <= limit else f"{value[: limit - 1].rstrip()}…"


def _flag(annotations: JsonObject, name: str) -> bool | None:
    value = annotations.get(name)
    return value if isinstance(value, bool) else None


def _shown(name: str) -> str:
    """A foreign name in a message."""
    return "".join(character if character.isprintable() else "?" for character in name[:100])
