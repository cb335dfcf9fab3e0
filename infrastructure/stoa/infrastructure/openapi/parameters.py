"""Converts the parameters of an operation: their place, style and schema.

Path item and operation are merged (the operation wins by name and place), 2.0's inline types and `collectionFormat`
become schemas and styles, and headers that the gateway itself sends do not become arguments.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_array, is_object
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.node import ANNOTATIONS, Node, Reference, described_node, description_of, without_null
from stoa.infrastructure.openapi.paths import PLACEHOLDER, ApiOperation, CannotConvert, PathTemplate
from stoa.infrastructure.openapi.references import Unresolvable
from stoa.infrastructure.openapi.text import VALUES_MARK, line, peculiarity, value_peculiarity
from stoa.infrastructure.openapi.words import WORD_KEYWORDS, joined_words

Location = Literal["path", "query", "header", "cookie"]
Style = Literal["simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"]
LOCATIONS: tuple[str, ...] = get_args(Location)
_BODY_LOCATIONS = {"body", "formData"}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})
_STYLES: dict[str, tuple[Style, ...]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
"""The styles of a place, its default first (OpenAPI 3.1 section 4.8.12.2)."""
COLLECTION_STYLES: dict[str, Style] = {
    "csv": "form",
    "multi": "form",
    "ssv": "spaceDelimited",
    "tsv": "tabDelimited",
    "pipes": "pipeDelimited",
}
_SCHEMA_KEYS = (
    frozenset(
        {"type", "format", "items", "default", "enum", "pattern", "multipleOf", "uniqueItems", "x-nullable", "example"}
    )
    | {"maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
    | {"maxLength", "minLength", "maxItems", "minItems"}
    | WORD_KEYWORDS
)
"""Fields of a 2.0 parameter that describe its value."""
_IGNORED_HEADERS = {
    "accept": "the gateway sends the media types of the answers",
    "content-type": "the gateway sends the media type of the body",
    "authorization": "the gateway sends its own credential (toolDefaults.authentication)",
    "content-length": "the gateway counts the bytes of the body",
    "content-encoding": "the gateway sends bodies as they are",
}
"""Header parameters that "SHALL be ignored" (OpenAPI 3.1 section 4.8.12.2), and those of the message itself."""
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"} | {"expect"}
)
"""Headers of the connection; a caller who sets them could reach another server."""
_FORM_TYPE = "application/x-www-form-urlencoded"
_BESIDE_EMPTY = frozenset({"enum", "const", "minLength", "pattern", "format"})
"""Keywords of a text that refuse the empty one."""
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    location: Location
    schema: Node
    is_required: bool
    style: Style
    explode: bool
    allow_reserved: bool = False
    is_json: bool = False
    is_whole_query: bool = False
    """The value is the query itself, not a parameter in it (`in: querystring` of 3.2)."""


def raw_parameters(operation: ApiOperation, context: ConversionContext) -> dict[tuple[str, str], JsonObject]:
    """Resolved Parameter Objects by name and place, those of the path item first. Raises CannotConvert if one refers to
    nothing and the operation changes something."""
    parameters: dict[tuple[str, str], JsonObject] = {}
    for level in (operation.path_item, operation.content):
        of_level: set[tuple[str, str]] = set()
        for written in _values(level.get("parameters"), operation, context):
            for parameter in _values(written, operation, context):
                name, place = parameter.get("name"), parameter.get("in")
                if place == "querystring" and (fields := _fields_of_query(parameter, context)):
                    parameters.update({(field["name"], "query"): field for field in fields})
                elif isinstance(name, str) and name and isinstance(place, str):
                    if (name, place) in of_level:
                        message = f"the {place} parameter {name!r} is given twice; the last one counts"
                        context.report.warning(operation.place, message)
                    of_level.add((name, place))
                    parameters[name, place] = parameter
                elif place == "body":
                    parameters["body", "body"] = parameter
                else:
                    context.report.warning(operation.place, "a parameter without `name` or `in` is left out")
    return parameters


def _fields_of_query(parameter: JsonObject, context: ConversionContext) -> list[JsonObject]:
    """The query parameters that a form-urlencoded `in: querystring` stands for (OpenAPI 3.2 section 4.12); none for
    another media type."""
    try:
        media = context.references.follow(as_object(parameter.get("content")).get(_FORM_TYPE))
        schema = context.references.follow(media.get("schema"))
    except Unresolvable:
        return []
    required = as_array(schema.get("required")) if parameter.get("required") is True else ()
    members = as_object(schema.get("properties"))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": member}
        for name, member in members.items()
    ]


def _values(written: Any, operation: ApiOperation, context: ConversionContext) -> list[Any]:
    """The objects that `written` is or refers to: one, or a list of them, as files are often divided."""
    try:
        value = context.references.value(written)
    except Unresolvable as problem:
        _without_parameter(problem, operation, context)
        return []
    entries = value if is_array(value) else [] if value is None else [value]
    if not all(is_object(entry) for entry in entries):
        context.report.warning(operation.place, "a parameter that is no object is left out")
    return [entry for entry in entries if is_object(entry)]


def _without_parameter(problem: Unresolvable, operation: ApiOperation, context: ConversionContext) -> None:
    """Reports that a parameter is left out. Raises CannotConvert where that may do harm: it may be the filter of what
    is deleted or changed."""
    if operation.method not in _SAFE_METHODS:
        raise CannotConvert(f"a parameter is unknown: {problem}") from problem
    context.report.warning(operation.place, f"a parameter is left out: {problem}")


def parameters_of(
    operation: ApiOperation, path: PathTemplate, raw: dict[tuple[str, str], JsonObject], context: ConversionContext
) -> list[Parameter]:
    """Everything outside the body. Raises CannotConvert when a required one cannot be sent."""
    parameters: list[Parameter] = []
    for (name, place), parameter in raw.items():
        if place in _BODY_LOCATIONS or context.security.holds(name, place):
            continue
        if parameter.get("required") is not True and context.security.is_credential(name, place, operation):
            context.security.withhold(name)
            continue
        if (
            place == "header"
            and name.lower() in _IGNORED_HEADERS
            and not _is_choice_of_answer(name, parameter, context)
        ):
            message = f"the header parameter {name!r} is left out: {_IGNORED_HEADERS[name.lower()]}"
            context.report.warning(operation.place, message)
            continue
        problem = _problem(name, place, path) or _cookie_problem(name, place, raw, context)
        if place == "querystring":
            read = _read(name, "query", parameter, operation, context)
            parameters.append(replace(read, is_whole_query=True))
        elif problem is None:
            parameters.append(_read(name, cast("Location", place), parameter, operation, context))
        elif parameter.get("required") is True and place != "path":
            raise CannotConvert(f"the required parameter {name!r} cannot be sent: {problem}")
        else:
            context.report.warning(operation.place, f"parameter {name!r} is left out: {problem}")
    declared = {parameter.name for parameter in parameters if parameter.location == "path"}
    for name in path.placeholders:
        if name not in declared:
            context.report.warning(operation.place, f"path parameter {name!r} is not declared; taken as required text")
            parameters.append(Parameter(name, "path", {"type": "string"}, True, "simple", explode=False))
    return parameters


def _is_choice_of_answer(name: str, parameter: JsonObject, context: ConversionContext) -> bool:
    """True for an Accept parameter with several values: they are versions or forms of the answer that a caller chooses
    from."""
    schema = parameter.get("schema", parameter)
    try:
        values = as_array(context.references.follow(schema).get("enum"))
    except Unresolvable:
        return False
    return name.lower() == "accept" and len(values) > 1


def _cookie_problem(
    name: str, place: str, raw: dict[tuple[str, str], JsonObject], context: ConversionContext
) -> str | None:
    """The problem with a header parameter `Cookie`, which holds all cookies of a request."""
    if place != "header" or name.lower() != "cookie":
        return None
    has_others = any(other == "cookie" for _, other in raw)
    is_own = any(entry.location == "cookie" and entry.type == "apiKey" for entry in context.security.entries)
    return "the gateway writes the cookies of this operation" if has_others or is_own else None


def fixed_query(path: PathTemplate, parameters: list[Parameter]) -> tuple[tuple[str, str], ...]:
    """The query of the path key, without names that a parameter declares too."""
    in_query = {parameter.name for parameter in parameters if parameter.location == "query"}
    return tuple((key, value) for key, value in path.query if key not in in_query and not PLACEHOLDER.search(value))


def _problem(name: str, place: str, path: PathTemplate) -> str | None:
    if place not in LOCATIONS:
        return f"`in: {place}` is not supported"
    if place == "path" and name not in path.placeholders:
        return "the path has no such placeholder"
    if place in {"header", "cookie"} and not _TOKEN.match(name):
        return f"this is no {place} name"
    if place == "header" and (name.lower() in _OWN_HEADERS or name.lower().startswith("proxy-")):
        return "this header belongs to the connection or the gateway"
    return None


def _read(
    name: str, place: Location, raw: JsonObject, operation: ApiOperation, context: ConversionContext
) -> Parameter:
    where = f"{operation.place} {place} parameter {name}"
    media_type = ""
    is_inline = not any(key in raw for key in ("schema", "content")) and "type" in raw
    if is_inline and not context.document.is_swagger:
        message = f"parameter {name!r}: `type` beside `name` is of 2.0; read as its schema"
        context.report.warning(operation.place, message)
    if is_inline or (context.document.is_swagger and "schema" not in raw):
        schema_source: Any = {key: value for key, value in raw.items() if key in _SCHEMA_KEYS}
    elif content := as_object(raw.get("content")):
        media_type, described = min(content.items(), key=lambda entry: not is_json_type(entry[0]))
        schema_source = as_object(described).get("schema", {})
    else:
        schema_source = raw.get("schema", {})
    if is_object(schema_source):  # the parameter's own examples come before those of its schema
        schema_source = {**schema_source, **{key: raw[key] for key in ("example", "examples") if key in raw}}
    schema = context.inputs.node(schema_source, where)
    written = as_text(raw.get("description"))
    if (peculiar := peculiarity(written)) is not None:
        context.report.warning(where, peculiar)
    description = joined_words(line(written), _schema_words(schema, context))
    if (problem := value_peculiarity(name)) is not None:
        context.report.warning(where, f"the name of a parameter is marked as the API's own: {problem}")
        description = f"{description} {VALUES_MARK}".strip()
    if raw.get("deprecated") is True:
        description = f"Deprecated. {description}".strip()
    is_json = is_json_type(media_type)
    required = place == "path" or raw.get("required") is True
    if place == "path" and not is_json:
        schema = _with_entries(schema, context)
    if not (is_json or required or context.options.validation == "strict"):
        schema = without_null(schema)  # no style can write null: it leaves the parameter out
    if raw.get("allowEmptyValue") is True and place == "query":
        schema = _or_empty(schema, context)
    if media_type and not is_json:
        context.report.warning(where, f"content of type {media_type!r} is sent as plain text")
    style, explode = _style(place, raw, where, context)
    reserved = raw.get("allowReserved") is True and place == "query"
    reserved = reserved or (raw.get("style") == "cookie" and place == "cookie")  # 3.2: cookies are not percent-encoded
    return Parameter(name, place, described_node(schema, description), required, style, explode, reserved, is_json)


def is_json_type(media_type: str) -> bool:
    return media_type.partition(";")[0].strip().lower().endswith("json")


def _or_empty(schema: Node, context: ConversionContext) -> Node:
    """The schema of a parameter that may be given without a value (`allowEmptyValue`)."""
    described = context.inputs.component(schema.pointer) if isinstance(schema, Reference) else schema
    if (
        not isinstance(described, Reference)
        and described.get("type") == "string"
        and not _BESIDE_EMPTY & described.keys()
    ):
        return schema
    if not isinstance(described, Reference) and not described.keys() - ANNOTATIONS:
        return schema
    written = schema.siblings if isinstance(schema, Reference) else schema
    notes = {key: value for key, value in written.items() if key in ANNOTATIONS}
    rest = {key: value for key, value in written.items() if key not in ANNOTATIONS}
    given = Reference(schema.pointer, rest) if isinstance(schema, Reference) else rest
    return {"anyOf": [given, {"type": "string", "enum": [""]}], **notes}


def _with_entries(schema: Node, context: ConversionContext) -> Node:
    """The schema of a list or object without the empty one, which would leave a hole in the path."""
    listed = context.inputs.component(schema.pointer) if isinstance(schema, Reference) else schema
    least = {"array": "minItems", "object": "minProperties"}.get(str(as_object(listed).get("type")))
    if isinstance(listed, Reference) or least is None:
        return schema
    siblings = schema.siblings if isinstance(schema, Reference) else {}
    return {**listed, **siblings, least: max(1, listed.get(least, 0))}


def _schema_words(schema: Node, context: ConversionContext) -> str:
    """The description of a parameter's schema, also of the component that it refers to."""
    own = description_of(schema)
    return own if own or not isinstance(schema, Reference) else description_of(context.inputs.component(schema.pointer))


def _style(place: Location, raw: JsonObject, where: str, context: ConversionContext) -> tuple[Style, bool]:
    allowed = _STYLES[place]
    if context.document.is_swagger or ("collectionFormat" in raw and "style" not in raw):
        return swagger_style(place, raw)
    style: Style = allowed[0]
    wanted = raw.get("style")
    if wanted in allowed:
        style = wanted
    elif wanted is not None and not (place == "cookie" and wanted == "cookie"):
        context.report.warning(where, f"style {str(wanted)[:40]!r} is not possible here; {style} is used")
    explode = raw.get("explode")
    return style, style == "deepObject" or (explode if isinstance(explode, bool) else style == "form")


def swagger_style(place: str, raw: JsonObject) -> tuple[Style, bool]:
    """2.0: `collectionFormat` as style and explode; csv is the default."""
    collection = as_text(raw.get("collectionFormat")) or "csv"
    style: Style = COLLECTION_STYLES.get(collection, "form")
    if style == "form" and place in {"path", "header"}:
        style = "simple"
    return style, collection == "multi"
