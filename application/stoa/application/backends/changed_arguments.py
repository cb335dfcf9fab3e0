"""Calls of a tool whose author renamed, defaulted or fixed arguments. Back ends get the arguments that they know."""

from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.tool_backend import BackendCall, CallContext, Previewable
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.operations.argument_changes import ArgumentChanges, Fixed, FixedByPrincipal, FixedBySecret
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject

DEFAULT_ENTRY = "value"
"""Entry of a secret whose reference names none."""


def with_changed_arguments(call: BackendCall, tool: Tool, credentials: CredentialSource | None) -> BackendCall:
    """The call of the back end, taking the arguments that the tool shows. Raises InvalidInput where a secret is fixed
    and nothing can read it."""
    changes = tool.argument_changes
    if changes is None:
        return call
    if credentials is None and any(isinstance(fixed, FixedBySecret) for fixed in changes.fixed.values()):
        raise InvalidInput("arguments are fixed by a secret: this gateway was made without credentials")
    form = _PreviewableCall if isinstance(call, Previewable) else _ChangedCall
    return form(call, changes, tool.tenant, credentials)


class _ChangedCall(BackendCall):
    def __init__(
        self, call: BackendCall, changes: ArgumentChanges, owner: TenantId | None, credentials: CredentialSource | None
    ) -> None:
        self._call = call
        self._changes = changes
        self._owner = owner
        self._credentials = credentials

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        sent = {**self._changes.renamed(arguments), **self._fixed(context.principal)}
        return await self._call(sent, context)

    def _fixed(self, principal: Principal) -> JsonObject:
        values: JsonObject = {}
        for name, fixed in self._changes.fixed.items():
            if isinstance(fixed, FixedBySecret) and self._credentials is not None:
                values[name] = self._credentials.read(self._owner, fixed.secret, DEFAULT_ENTRY)
                continue
            value = values[name] = fixed.shown(principal)
            if isinstance(fixed, FixedByPrincipal) and value is None:
                raise InvalidArguments([Violation("", f"a caller with a {fixed.fact}")])
        return values


class _PreviewableCall(_ChangedCall, Previewable):
    def preview(self, arguments: JsonObject) -> JsonObject:
        """With the names of secrets in place of their values, and a fact of the caller as `{tenant}`."""
        call = self._call
        if not isinstance(call, Previewable):
            return {}
        fixed = {name: _stand_in(fixed) for name, fixed in self._changes.fixed.items()}
        return call.preview({**self._changes.renamed(arguments), **fixed})


def _stand_in(fixed: Fixed) -> object:
    match fixed:
        case FixedBySecret():
            return f"{{secret:{fixed.secret.name}}}"
        case FixedByPrincipal():
            return f"{{{fixed.fact}}}"
        case _:
            return fixed.value
