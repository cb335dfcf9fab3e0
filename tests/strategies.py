"""Hypothesis strategies for every domain type, and for manifests as people write them."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from stoa.application.memory.policy_engine import Rule
from stoa.domain.access.identity import ALL_SCOPES, ROLE_SCOPES, Principal, TenantId
from stoa.domain.access.rate_limit import LimitCharge, RateLimit
from stoa.domain.calls.invocation import BearerToken, Invocation
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.price_list import PriceList, PriceVersion, Rates, RatesByOperation
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import (
    ApiReference,
    Authentication,
    LocalBinding,
    RestBinding,
    RestBody,
    RestParameter,
    SecretReference,
    Tool,
    ToolAnnotations,
)
from stoa.domain.policy.decision import ClientRequestFacts, Decision, PolicyQuery
from stoa.domain.results.result import (
    MISSING,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    RawAnswer,
    TextContent,
    ToolResult,
)
from stoa.domain.schema.json_value import JsonObject

EXACT_MICRO_UNITS = 10**15 - 1
"""The greatest amount that its JSON number carries exactly (stoa.domain.metering.money)."""

DOORS = st.sampled_from(["mcp", "rest", "cli", "library"])

unicode_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
"""What JSON on the wire can carry: any text without halves of surrogate pairs."""

few_tenants = st.sampled_from([TenantId("acme"), TenantId("beta"), TenantId("gamma")])
"""So few that principals and tools meet."""
few_names = st.sampled_from(["ant", "bee", "cat", "dog", "elk"])

tenants = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True).map(TenantId)
tool_names = st.from_regex(r"[A-Za-z0-9_.-]{1,128}", fullmatch=True)
roles = st.sampled_from([*ROLE_SCOPES, "auditor", "nobody"])


def json_values(*, max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Whatever JSON can say, numbers beyond 64 bits included."""
    numbers = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | numbers | unicode_text
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode_text, inner, max_size=3),
        max_leaves=max_leaves,
    )


json_objects: st.SearchStrategy[JsonObject] = st.dictionaries(unicode_text, json_values(), max_size=3)


def _schemas_over(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    names = st.sampled_from(["a", "b", "self"])
    properties = st.dictionaries(names, inner, max_size=3)
    several = st.lists(inner, min_size=1, max_size=2)
    parts = st.one_of(
        st.just({"type": "object"}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": properties},
            optional={"additionalProperties": inner, "required": st.just(["a"]), "minProperties": st.just(1)},
        ),
        st.fixed_dictionaries({"patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2)}),
        st.fixed_dictionaries(
            {"type": st.just("array")}, optional={"items": inner, "prefixItems": several, "contains": inner}
        ),
        several.map(lambda branches: {"anyOf": branches}),
        several.map(lambda branches: {"oneOf": branches}),
        several.map(lambda branches: {"allOf": branches}),
        inner.map(lambda schema: {"not": schema}),
        st.tuples(inner, inner).map(lambda pair: {"if": pair[0], "then": pair[1]}),
    )
    both = st.tuples(parts, parts).map(lambda pair: {**pair[0], **pair[1]})
    return parts | both


def _subschemas() -> st.SearchStrategy[Any]:
    kinds = ["null", "boolean", "integer", "number", "string", "array", "object"]
    leaves = st.one_of(
        st.booleans(),
        st.sampled_from([{"$ref": "#"}, {"$ref": "#/$defs/d"}]),
        st.sampled_from(kinds).map(lambda kind: {"type": kind}),
        st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True).map(lambda several: {"type": several}),
        st.lists(json_values(max_leaves=2), min_size=1, max_size=3).map(lambda values: {"enum": values}),
        json_values(max_leaves=2).map(lambda value: {"const": value}),
        st.integers(-5, 5).map(lambda bound: {"type": "integer", "minimum": bound, "multipleOf": 2}),
        st.integers(0, 3).map(lambda bound: {"type": "string", "minLength": bound, "pattern": "^[a-z]*$"}),
    )
    return st.recursive(leaves, _schemas_over, max_leaves=6)


def object_schemas() -> st.SearchStrategy[JsonObject]:
    """Schemas of draft 2020-12 with an object at the root, as tools have them, with references to it and into it."""
    inner = _subschemas()
    return st.tuples(_schemas_over(inner), inner).map(
        lambda pair: {**pair[0], "type": "object", "$defs": {"d": pair[1]}}
    )


token_limits: st.SearchStrategy[frozenset[str] | None] = st.none() | st.frozensets(
    st.sampled_from([*ALL_SCOPES, "stoa:other"])
)
"""What a token is limited to; None: nothing."""


@dataclass(frozen=True)
class SchemaCase:
    """A schema of a kind that validators have trouble with, and arguments for it, which fit or miss it by little."""

    schema: JsonObject
    arguments: JsonObject


@st.composite
def recursive_cases(draw: st.DrawFn) -> SchemaCase:
    """A union that contains itself, as filters, expressions and documents do: with or without something that tells the
    alternatives apart, children one at a time, in a list or by name."""
    keyword = draw(st.sampled_from(["oneOf", "anyOf"]))
    is_told_apart = draw(st.booleans())
    again: JsonObject = {"$ref": "#/$defs/node"}
    below = draw(
        st.sampled_from(
            [
                again,
                {"type": "array", "items": again},
                {"type": "object", "additionalProperties": again},
                {"allOf": [again, again]},
                {"not": {"not": again}},
                {"if": again, "then": again, "else": again},
            ]
        )
    )
    kinds = draw(st.lists(st.sampled_from(["not", "any", "all", "group"]), min_size=1, max_size=4, unique=True))
    inner = [
        {
            "type": "object",
            "required": ["of"],
            "properties": {"of": below, **({"kind": {"const": kind}} if is_told_apart else {})},
        }
        for kind in kinds
    ]
    leaf = {"type": "object", "required": ["leaf"], "properties": {"leaf": {"type": "string"}}}
    node = {keyword: [*inner, leaf]}
    value: Any = {"leaf": draw(st.sampled_from(["x", 1]))}
    for _ in range(draw(st.integers(0, 40))):
        one: Any = value
        if below.get("type") == "array":
            one = [value] * draw(st.integers(1, 2))
        elif below.get("type") == "object":
            one = {"a": value}
        value = {"kind": draw(st.sampled_from(["not", "any", "zzz"])), "of": one}
    schema = {"type": "object", "properties": {"root": again}, "$defs": {"node": node}}
    return SchemaCase(schema, {"root": value})


@st.composite
def union_cases(draw: st.DrawFn) -> SchemaCase:
    """Schemas that apply the next one more than once, some levels deep: a few lines that mean millions of checks."""
    depth = draw(st.integers(1, 40))
    defined: JsonObject = {f"level{depth}": draw(st.sampled_from([{"type": "integer"}, {"enum": [[1], {"a": 1}]}]))}
    for level in range(depth):
        again = {"$ref": f"#/$defs/level{level + 1}"}
        defined[f"level{level}"] = draw(
            st.sampled_from(
                [
                    {"allOf": [again, again]},
                    {"anyOf": [again, again, {"type": "null"}]},
                    {"oneOf": [again, {"not": again}]},
                    {"if": again, "then": again, "else": again},
                    {"allOf": [again], "unevaluatedProperties": again},
                ]
            )
        )
    root = {"$ref": "#/$defs/level0"}
    schema = {"type": "object", "properties": {"a": root}, "additionalProperties": root, "$defs": defined}
    return SchemaCase(schema, {"a": draw(st.sampled_from([1, "x", None, {"a": 1}, [1]])), "b": draw(json_values())})


PATTERNS = [
    r"^(?:(?=a)a+)+$",
    r"^(a+)+$",
    r"(a|a)*b",
    r"^(?!.*\.\.)[a-z.]+$",
    r"(a*)*\1!",
    r"[ab]*a[ab]{300}c",
    r"^\p{L}+$",
    r"^[a-z]{1,10}$",
]


@st.composite
def regex_cases(draw: st.DrawFn) -> SchemaCase:
    """Patterns that make engines look back, and texts that nearly match them."""
    pattern = draw(st.sampled_from(PATTERNS))
    matched: JsonObject = {"pattern": pattern}
    place = draw(
        st.sampled_from(
            [matched, {"anyOf": [matched, {"type": "string"}]}, {"not": matched}, {"propertyNames": matched}]
        )
    )
    text = st.builds(
        lambda letter, count, end: letter * count + end,
        st.sampled_from(["a", "ab", "a."]),
        st.integers(0, 60) | st.sampled_from([3_000]),
        st.sampled_from(["", "!", "c"]),
    )
    texts = draw(st.lists(text, max_size=8))
    values: Any = [dict.fromkeys(texts, 1)] if "propertyNames" in place else texts
    return SchemaCase({"type": "object", "properties": {"x": {"type": "array", "items": place}}}, {"x": values})


def schema_cases() -> st.SearchStrategy[SchemaCase]:
    """Recursive, union and regex schemas with arguments."""
    return st.one_of(recursive_cases(), union_cases(), regex_cases())


def principals(tenant: st.SearchStrategy[TenantId] = few_tenants) -> st.SearchStrategy[Principal]:
    held = st.frozensets(roles, max_size=3)
    return st.builds(
        lambda subject, tenant, roles, client, issuer, limit: Principal.of(
            subject, tenant=tenant, roles=roles, client=client, issuer=issuer, token_scopes=limit
        ),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.none() | tenant,
        held,
        st.none() | unicode_text,
        st.sampled_from(["local", "https://issuer.example/realms/stoa"]),
        token_limits,
    )


rate_limits = st.builds(
    RateLimit, requests_per_minute=st.integers(1, 100_000) | st.just(60_000_000), burst=st.integers(1, 50)
)


@dataclass(frozen=True)
class LimitedCall:
    """A call that comes `gap_us` after the one before."""

    gap_us: int
    charges: tuple[LimitCharge, ...]


@st.composite
def limited_calls(draw: st.DrawFn, *, keys: int = 3, max_size: int = 20) -> list[LimitedCall]:
    """Calls against some of a few limits, with gaps where the edges of those limits are."""
    names = ["a", "b:", "\x1f"][:keys]
    limits = {name: draw(rate_limits) for name in names}
    edges = sorted({max(0, limit.interval_us + by) for limit in limits.values() for by in (-1, 0, 1)})
    gaps = st.sampled_from([0, 0, 1, *edges]) | st.integers(0, 3 * max(edges))
    costs = st.sampled_from([1, 1, 1, 1, 2, 3])

    def charges(chosen: list[str]) -> st.SearchStrategy[tuple[LimitCharge, ...]]:
        return st.tuples(
            *(st.builds(LimitCharge, st.just("tool"), st.just(n), st.just(limits[n]), costs) for n in chosen)
        )

    chosen = st.lists(st.sampled_from(names), min_size=1, max_size=keys, unique=True)
    return draw(st.lists(st.builds(LimitedCall, gaps, chosen.flatmap(charges)), max_size=max_size))


annotations = st.builds(
    ToolAnnotations,
    read_only_hint=st.none() | st.booleans(),
    destructive_hint=st.none() | st.booleans(),
    idempotent_hint=st.none() | st.booleans(),
    open_world_hint=st.none() | st.booleans(),
)

tags = st.lists(st.sampled_from(["pets", "money", "stoa:read", "stoa:write", "stoa:admin"]), max_size=3).map(tuple)

secret_references = st.builds(
    SecretReference,
    name=st.sampled_from(["a", "pets-api", "billing.example"]),
    key=st.none() | st.sampled_from(["k", "-", "client_secret", "..data"]),
)

authentications = st.just(Authentication()) | st.builds(
    Authentication,
    type=st.sampled_from(["bearer", "basic", "apiKey"]),
    secret=secret_references,
    location=st.sampled_from(["header", "query", "cookie"]),
)


def _rest_binding(method: str, path_names: list[str], other_names: list[str]) -> RestBinding:
    in_path = [RestParameter(argument=n, name=n, location="path", style="simple", explode=False) for n in path_names]
    rest = [name for name in other_names if name not in path_names]
    has_body = method in {"POST", "PUT", "PATCH"}
    in_query = [RestParameter(argument=n, name=n, location="query", style="form", explode=True) for n in rest]
    return RestBinding(
        method=method,
        base_url="http://127.0.0.1:9/api",
        path="/things" + "".join(f"/{{{name}}}" for name in path_names),
        parameters=tuple(in_path if has_body else [*in_path, *in_query]),
        body=RestBody(media_type="application/json", fields={n: n for n in rest}) if has_body and rest else None,
    )


_few_arguments = st.sampled_from(["id", "name", "limit", "q", "x", "until", "offset"])
_argument_names = st.lists(_few_arguments, max_size=3, unique=True)
rest_bindings = st.builds(
    _rest_binding, st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]), _argument_names, _argument_names
)
local_bindings = st.builds(LocalBinding, function=st.sampled_from(["echo", "fail"]))
bindings = rest_bindings | local_bindings


_owners = st.none() | few_tenants
_mostly_enabled = st.sampled_from([True, True, True, False])


def tools(
    *,
    name: st.SearchStrategy[str] = few_names,
    tenant: st.SearchStrategy[TenantId | None] = _owners,
    binding: st.SearchStrategy[Any] = bindings,
    enabled: st.SearchStrategy[bool] = _mostly_enabled,
) -> st.SearchStrategy[Tool]:
    return st.builds(
        Tool,
        name=name,
        tenant=tenant,
        title=st.none() | unicode_text,
        description=unicode_text,
        input_schema=st.just({"type": "object", "properties": {}})
        | st.just({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
        output_schema=st.none() | st.just({"type": "object", "properties": {"n": {"type": "integer"}}}),
        annotations=annotations,
        tags=tags,
        category=st.none() | st.sampled_from(["animals", "money"]),
        version=st.none() | st.just("1.0"),
        api=st.none() | st.just(ApiReference(name="pets", version="2", operation_id="list")),
        binding=binding,
        timeout_seconds=st.floats(0.001, 300),
        rate_limit=st.none() | rate_limits,
        authentication=authentications,
        may_lower_access=st.booleans(),
        is_by_tenant=st.booleans(),
        enabled=enabled,
    ).map(_by_somebody)


def _by_somebody(one: Any) -> Any:
    """A tenant's team writes nothing that is global."""
    return one.model_copy(update={"is_by_tenant": False}) if one.tenant is None else one


few_uris = st.sampled_from(["memo://ant", "memo://bee", "memo://cat/legs", "memo://{name}", "memo://{name}/{part}"])
"""Resources and templates; some of the templates match some of the others."""

prompt_arguments = st.lists(
    st.builds(
        PromptArgument,
        name=_few_arguments,
        description=unicode_text,
        required=st.booleans(),
        completions=st.lists(unicode_text, max_size=2).map(tuple),
    ),
    max_size=3,
    unique_by=lambda argument: argument.name,
).map(tuple)


def _contents(
    kind: type[Any], binding: st.SearchStrategy[Any], **rest: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    return st.builds(
        kind,
        tenant=_owners,
        title=st.none() | unicode_text,
        description=unicode_text,
        tags=tags,
        binding=binding,
        rate_limit=st.none() | rate_limits,
        enabled=_mostly_enabled,
        is_by_tenant=st.booleans(),
        **rest,
    ).map(_by_somebody)


def resources(
    *, uri: st.SearchStrategy[str] = few_uris, binding: st.SearchStrategy[Any] = bindings
) -> st.SearchStrategy[Resource]:
    return _contents(
        Resource,
        binding,
        uri=uri,
        name=unicode_text,
        mime_type=st.none() | st.just("text/plain"),
        size=st.none() | st.just(3),
    )


def prompts(
    *, name: st.SearchStrategy[str] = few_names, binding: st.SearchStrategy[Any] = bindings, arguments=prompt_arguments
) -> st.SearchStrategy[Prompt]:
    return _contents(Prompt, binding, name=name, arguments=arguments)


def operations(*, binding: st.SearchStrategy[Any] = bindings) -> st.SearchStrategy[Operation]:
    """Tools, resources and prompts, with names that they share."""
    return tools(binding=binding) | resources(binding=binding) | prompts(binding=binding)


def catalogues() -> st.SearchStrategy[Catalogue]:
    return st.lists(operations(), max_size=10).map(lambda found: Catalogue.build(found)[0])


decisions = st.builds(
    Decision,
    is_allowed=st.booleans(),
    reason=unicode_text,
    rules=st.lists(st.sampled_from(["r1", "r2"]), max_size=2).map(tuple),
)

_PREDICATES = {
    "always": lambda query: True,
    "never": lambda query: False,
    "acme": lambda query: query.principal.tenant == "acme",
    "viewer": lambda query: "viewer" in query.principal.roles,
    "pets": lambda query: "pets" in query.operation.tags,
    "early-name": lambda query: query.operation.name < "c",
    "mcp": lambda query: query.door == "mcp",
}


effects = st.sampled_from(["allow", "deny"])


def rules(effect: st.SearchStrategy[str] = effects) -> st.SearchStrategy[Rule]:
    """Rules about principal, tool and door, and some about arguments."""
    plain = st.builds(
        lambda name, effect: Rule(f"{effect}-{name}", effect, _PREDICATES[name], f"{name} {effect}"),
        st.sampled_from(sorted(_PREDICATES)),
        effect,
    )
    reading = effect.map(
        lambda what: Rule(
            f"{what}-n-above-5", what, lambda query: query.arguments.get("n", 0) > 5, "n above 5", reads_arguments=True
        )
    )
    return plain | reading


def questions() -> st.SearchStrategy[ClientRequestFacts]:
    sampling = st.builds(
        ClientRequestFacts,
        kind=st.just("sampling"),
        max_tokens=st.integers(1, 10_000),
        model_hints=st.lists(st.sampled_from(["claude-x", "Claude-y", "gpt-z"]), max_size=2).map(tuple),
    )
    pages = st.builds(
        ClientRequestFacts,
        kind=st.just("elicitation"),
        mode=st.just("url"),
        url_host=st.sampled_from(["a.example", "b.example"]),
    )
    return (
        sampling
        | pages
        | st.sampled_from([ClientRequestFacts(kind="elicitation", mode="form"), ClientRequestFacts(kind="roots")])
    )


def policy_queries() -> st.SearchStrategy[PolicyQuery]:
    return st.builds(
        PolicyQuery,
        principal=principals(),
        operation=operations(),
        arguments=st.fixed_dictionaries({}, optional={"n": st.integers(0, 10)}),
        door=DOORS,
    )


def invocations() -> st.SearchStrategy[Invocation]:
    return st.builds(
        Invocation,
        credential=st.none() | principals() | st.builds(BearerToken, st.text(min_size=1, max_size=20)),
        name=few_names | few_uris | st.sampled_from(["memo://dog", "memo://dog/legs"]) | st.text(max_size=200),
        arguments=st.fixed_dictionaries({}, optional={"n": st.integers() | st.text(max_size=5)}) | json_objects,
        door=DOORS,
        tenant=st.none() | few_tenants | st.text(max_size=80).map(TenantId),
        request_id=st.none() | st.text(max_size=200),
        consumer=st.text(max_size=200),
        kind=st.sampled_from(["tool", "resource", "prompt"]),
    )


_base64 = st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode("ascii"))
content_blocks = st.one_of(
    st.builds(TextContent, unicode_text),
    st.builds(ImageContent, _base64, st.just("image/png")),
    st.builds(AudioContent, _base64, st.just("audio/wav")),
    st.builds(EmbeddedResource, st.just("stoa://x"), st.just("text/plain"), text=unicode_text),
    st.builds(EmbeddedResource, st.just("stoa://x"), st.just("application/pdf"), blob=_base64),
)
tool_results = st.builds(
    ToolResult,
    content=st.lists(content_blocks, max_size=3).map(tuple),
    structured=st.just(MISSING) | json_values(),
    is_error=st.booleans(),
)
raw_answers = st.builds(
    RawAnswer,
    body=st.binary(max_size=60) | st.sampled_from([b'{"n": 1}', b"[1e999]", b"\xef\xbb\xbf{}", b'"\\ud800"', b"null"]),
    media_type=st.sampled_from(["application/json", "text/plain", "image/png", "audio/wav", "application/x+json", ""])
    | unicode_text,
    charset=st.sampled_from(["utf-8", "latin-1", "utf-16", "no-such-charset", "base64"]),
    is_error=st.booleans(),
    status=st.sampled_from(["", "200 OK", "404 Not Found"]),
)


def metering_events(*, padding: int = 0) -> st.SearchStrategy[MeteringEvent]:
    """Any event whose JSON stays within 8 KiB; `padding` (at most 2000) adds up to so many bytes of metadata."""
    names = st.text(min_size=1, max_size=10)
    details = st.dictionaries(st.text(max_size=6), st.text(max_size=10), max_size=3)
    paddings = st.integers(0, padding).map(lambda length: {"padding": "x" * length} if length else {})
    return st.builds(
        MeteringEvent,
        event_id=st.uuids().map(str) | names,
        timestamp=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        tenant=tenants | st.just("-"),
        project=st.none() | names,
        consumer=st.text(max_size=128),
        user_id=names,
        tool=tool_names,
        latency_ms=st.integers(0, 10**9),
        status=st.sampled_from(Status),
        cost_units=st.integers(0, EXACT_MICRO_UNITS),
        request_id=st.none() | names,
        metadata=st.tuples(details, paddings).map(lambda parts: {**parts[0], **parts[1]}),
    )


amounts = st.decimals(0, 999_999, places=12) | st.decimals(0, 2, places=6) | st.just(Decimal(0))
"""Prices, most of them finer than a micro-unit."""
_rates: dict[str, st.SearchStrategy[Any]] = {
    "base": st.none() | amounts,
    "per_100_ms": st.none() | amounts,
    "per_kib_out": st.none() | amounts,
    "premium_factor": st.none() | st.decimals(1, 10, places=3),
    "per_question": st.none() | st.decimals(0, 2, places=6),
}
_rates_by_operation: dict[str, st.SearchStrategy[Any]] = {
    **_rates,
    "tags": st.dictionaries(st.sampled_from(["pets", "money", "stoa:read"]), st.builds(Rates, **_rates), max_size=3),
    "tools": st.dictionaries(
        few_names | few_uris.map(lambda uri: f"resource:{uri}") | few_names.map(lambda name: f"prompt:{name}"),
        st.builds(Rates, **_rates),
        max_size=4,
    ),
}
price_versions = st.builds(
    PriceVersion,
    **_rates_by_operation,
    tenants=st.dictionaries(few_tenants, st.builds(RatesByOperation, **_rates_by_operation), max_size=2),
)
instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
price_lists = st.builds(
    lambda first, rest: PriceList(
        versions=(first, *(version.model_copy(update={"since": since}) for since, version in sorted(rest.items())))
    ),
    price_versions,
    st.dictionaries(instants, price_versions, max_size=3),
)

durations = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(1, 4), st.sampled_from(["s", "m"])
) | st.integers(1, 9999).map(lambda number: f"{number}ms")


_oauth2 = {"type": "oauth2", "secretRef": {"name": "pets"}, "tokenUrl": "https://auth.example/realms/stoa/token"}
_authentications = st.builds(
    lambda: {"type": "bearer", "secretRef": {"name": "pets", "key": "t"}}
) | st.fixed_dictionaries(
    {field: st.just(value) for field, value in _oauth2.items()},
    optional={
        "grant": st.sampled_from(["clientCredentials", "tokenExchange"]),
        "audience": st.sampled_from(["pets", "https://pets.example/"]),
        "scopes": st.lists(st.sampled_from(["pets:read", "profile"]), max_size=2),
    },
).filter(lambda it: it.get("grant") != "tokenExchange" or "audience" in it)


def manifests() -> st.SearchStrategy[JsonObject]:
    """Good manifests of all kinds, with any choice of optional fields."""
    limits = st.fixed_dictionaries({"requestsPerMinute": st.integers(1, 10_000)}, optional={"burst": st.integers(1, 9)})
    metadata = st.fixed_dictionaries(
        {"name": st.from_regex(r"[a-z]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)},
        optional={"namespace": tenants.filter(lambda name: len(name) < 50).map(lambda name: f"tenant-{name}")},
    )
    tool_spec = st.fixed_dictionaries(
        {"endpoint": st.sampled_from(["http://127.0.0.1:9/pets", "https://pets.example/pets/{petId}?v=2"])},
        optional={
            "displayName": unicode_text,
            "description": unicode_text,
            "method": st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
            "tags": st.lists(unicode_text, max_size=3),
            "annotations": st.fixed_dictionaries({}, optional={"readOnlyHint": st.booleans()}),
            "timeout": durations,
            "rateLimit": limits,
            "authentication": _authentications,
            "enabled": st.booleans(),
        },
    )
    set_spec = st.fixed_dictionaries(
        {"openAPISpec": st.fixed_dictionaries({"inline": json_objects}, optional={"refreshInterval": st.just("2h")})},
        optional={
            "baseURL": st.just("https://pets.example/v2"),
            "selector": st.fixed_dictionaries({}, optional={"tags": st.lists(unicode_text, max_size=2)}),
            "toolDefaults": st.fixed_dictionaries({}, optional={"timeout": durations, "rateLimit": limits}),
            "naming": st.fixed_dictionaries({}, optional={"prefix": unicode_text, "useOperationId": st.booleans()}),
            "enabled": st.booleans(),
        },
    )
    return st.one_of(
        _manifests("Tool", metadata, tool_spec),
        _manifests("ToolSet", metadata, set_spec),
        _manifests("Resource", metadata, _resource_specs()),
        _manifests("Prompt", metadata, _prompt_specs()),
    )


def _resource_specs() -> st.SearchStrategy[Any]:
    optional = {
        "displayName": unicode_text,
        "description": unicode_text,
        "mimeType": st.just("text/markdown"),
        "tags": st.lists(unicode_text, max_size=2),
        "timeout": durations,
        "enabled": st.booleans(),
    }
    fixed: dict[str, Any] = {"uri": st.just("memo://ant")}
    template = {
        "uriTemplate": st.just("memo://{id}/{part}"),
        "endpoint": st.sampled_from(["https://memo.example/{id}?v=2", "http://127.0.0.1:9/all"]),
    }
    return st.one_of(
        st.fixed_dictionaries({**fixed, "text": unicode_text}, optional=optional),
        st.fixed_dictionaries(
            {**fixed, "blob": st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode())}
        ),
        st.fixed_dictionaries(template, optional=optional),
    )


def _prompt_specs() -> st.SearchStrategy[Any]:
    arguments = [{"name": "topic", "required": True, "completions": ["ants"]}, {"name": "tone", "title": "Tone"}]
    messages = st.lists(
        st.one_of(
            st.just({"text": "About {{topic}} in {{ tone }}, {{"}),
            st.just({"role": "assistant", "image": {"data": "aW1n", "mimeType": "image/png"}}),
            st.just({"resource": {"uri": "memo://{{topic}}", "text": "{{tone}}"}}),
        ),
        min_size=1,
        max_size=3,
    )
    return st.fixed_dictionaries(
        {"messages": messages, "arguments": st.just(arguments)}, optional={"displayName": unicode_text}
    )


def _manifests(kind: str, metadata: Any, spec: Any) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries(
        {"apiVersion": st.just("gostoa.dev/v1alpha1"), "kind": st.just(kind), "metadata": metadata, "spec": spec}
    )
