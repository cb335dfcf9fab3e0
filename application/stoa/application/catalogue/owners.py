"""Authors of manifests: they decide the owner of the operations, and how far these may lower their access."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.access.identity import TenantId, TenantName
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, Reason, error, warning
from stoa.domain.operations.access import strictest
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool, ToolAnnotations
from stoa.domain.origin import Origin
from stoa.domain.schema.json_value import JsonObject, as_object, is_object

_PREFIX = "tenant-"
_UNSAID = ToolAnnotations()
_TENANT = TypeAdapter[TenantId](TenantName)


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One entry of a catalogue path. `tenant`: the tenant whose team writes there; None: the platform."""

    path: str
    tenant: TenantId | None = None

    @classmethod
    def parse(cls, text: str) -> "CatalogueEntry":
        """Parse `PATH` or `TENANT=PATH`; `./a=b` is a path. Raises InvalidInput for a tenant without a path."""
        name, equals, path = text.partition("=")
        try:
            tenant = _TENANT.validate_python(name.removeprefix(_PREFIX))
        except ValidationError:
            return cls(text)
        if equals and not path:
            raise InvalidInput(f"{text}: write TENANT=PATH, the files and folders that the tenant's team writes")
        return cls(path, tenant) if equals else cls(text)


def owned_content(document: ManifestDocument) -> JsonObject:
    """The manifest with its owner's namespace. Raises InvalidInput if it names another than the tenant that the
    document's place is bound to."""
    content, bound = document.content or {}, document.tenant
    metadata = content.get("metadata")
    if bound is None or not is_object(metadata):
        return content
    named = metadata.get("namespace")
    if named is None:
        return {**content, "metadata": {**metadata, "namespace": _PREFIX + bound}}
    if not isinstance(named, str) or named.removeprefix(_PREFIX) != bound:
        raise InvalidInput(
            f"metadata.namespace: {str(named)[:80]!r} is not the tenant that this place of the catalogue belongs to; "
            f"write {bound}, or leave it out"
        )
    return content


def owned(
    operations: Iterable[Operation], document: ManifestDocument, lowering: Collection[str]
) -> tuple[tuple[Operation, ...], tuple[Finding, ...]]:
    """The operations of a manifest with the rights that their place and the platform grant them, and findings about
    their access. `lowering`: tenants whose manifests may require less than their method."""
    result = tuple(_owned(operation, document, lowering) for operation in operations)
    return result, _findings_on_access(document.origin, result)


def _owned(operation: Operation, document: ManifestDocument, lowering: Collection[str]) -> Operation:
    granted: JsonObject = {}
    if document.tenant is not None:
        granted["is_by_tenant"] = True
    if operation.tenant in lowering:
        granted["may_lower_access"] = True
    return operation.model_copy(update=granted) if granted else operation


def ambiguous_namespaces(documents: Iterable[ManifestDocument]) -> Mapping[Origin, Finding]:
    """By origin, the manifests of a namespace `a` where another manifest's is `tenant-a`: two namespaces of a cluster,
    with two owners, which must not become one tenant."""
    named = {one.origin: _namespace(one) for one in documents if one.tenant is None}
    written = set(named.values())
    return {
        origin: error(
            str(origin),
            f"metadata.namespace: {namespace!r} and {_PREFIX + namespace!r} would be one tenant; "
            f"write {_PREFIX}{namespace} in all manifests of this tenant",
            origin,
            Reason.AMBIGUOUS_NAMESPACE,
        )
        for origin, namespace in named.items()
        if namespace is not None and _PREFIX + namespace in written
    }


def _namespace(document: ManifestDocument) -> str | None:
    namespace = as_object((document.content or {}).get("metadata")).get("namespace")
    return namespace if isinstance(namespace, str) else None


def _findings_on_access(origin: Origin, operations: Sequence[Operation]) -> tuple[Finding, ...]:
    """A warning where tags or hints ask for less than the method: one for those that are obeyed, one for the others."""
    lowered = [one for one in operations if one.lowered_by is not None]
    ignored = [one for one in operations if not one.is_trusted and _promises_too_much(one)]
    found: list[Finding] = []
    if lowered:
        first = lowered[0]
        needs = f"{first.access.value} instead of {first.method_access.value}"
        found.append(warning(str(origin), f"{_named(lowered)}: needs {needs}, lowered by {first.lowered_by}", origin))
    if ignored:
        message = (
            f"{_named(ignored)}: tags and annotations cannot lower what its method needs, "
            f"{ignored[0].method_access.value}; remove them, or have the platform name the tenant in LOWER_ACCESS"
        )
        found.append(warning(str(origin), message, origin))
    return tuple(found)


def _promises_too_much(operation: Operation) -> bool:
    tagged = operation.access_by_tag
    if tagged is not None and tagged is not strictest(tagged, operation.method_access):
        return True
    method = operation.binding.method_properties
    if not isinstance(operation, Tool) or method is None or operation.annotations == _UNSAID:
        return False
    return operation.annotations.under(method, may_lower=True) != operation.hints


def _named(operations: Sequence[Operation]) -> str:
    return operations[0].identifier + (f" (and {len(operations) - 1} more)" if len(operations) > 1 else "")
