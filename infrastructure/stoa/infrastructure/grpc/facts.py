"""What a description says of a method's effects: `idempotency_level`, `google.api.http`, and the standard services."""

from typing import Any

from stoa.domain.operations.access import Access, MethodProperties, properties_of_http_method, strictest
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.protobuf.descriptors import Declaration

_NO_SIDE_EFFECTS, _IDEMPOTENT = 1, 2
"""MethodOptions.IdempotencyLevel of descriptor.proto."""
_READING_SERVICES = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
)
"""gRPC itself defines them, and they change nothing."""


def method_facts(service: Declaration, method: Any, options: JsonObject) -> MethodProperties:
    """A method that its description says nothing of writes. Where two facts differ, the stricter one counts."""
    facts: list[MethodProperties] = []
    level = method.options.idempotency_level
    if level == _NO_SIDE_EFFECTS:
        facts.append(MethodProperties(Access.READ, is_idempotent=True))
    elif level == _IDEMPOTENT:
        facts.append(MethodProperties(Access.WRITE, is_idempotent=True))
    verb = _http_verb(as_object(options.get("[google.api.http]")))
    # POST is what annotations fall back to: Range of etcd is one. It adds nothing to a level that is stated.
    if verb and not (facts and verb == "POST"):
        facts.append(properties_of_http_method(verb))
    if service.name in _READING_SERVICES:
        facts.append(MethodProperties(Access.READ, is_idempotent=True))
    if not facts:
        return MethodProperties(Access.WRITE)
    access = strictest(*(fact.access for fact in facts))
    return MethodProperties(access, next((fact.is_idempotent for fact in facts if fact.is_idempotent), None))


def _http_verb(rule: JsonObject) -> str:
    """The method of an HttpRule (google/api/http.proto); empty: none is given."""
    for name in ("get", "put", "post", "delete", "patch"):
        if name in rule:
            return name.upper()
    kind = as_object(rule.get("custom")).get("kind")
    return kind.upper() if isinstance(kind, str) else ""
