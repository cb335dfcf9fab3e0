"""Completion of a prompt's argument or of a variable of a resource template (MCP "Completion")."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stoa.application.admission.callers import Callers
from stoa.application.catalogue.caller_view import CallerView
from stoa.application.catalogue.completers import TIMEOUT_SECONDS, Completers
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.catalogue.tool_pages import TOOL_PAGES
from stoa.application.ports.tool_backend import Completing
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import Credential, token_of
from stoa.domain.errors import InvalidInput, StoaError, not_found
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool
from stoa.domain.policy.decision import Door

_log = logging.getLogger(__name__)

MAX_VALUES = 100
"""Upper bound on the values in one answer, as MCP has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionQuery:
    """The argument to complete. `name`: of the prompt, or the text of the resource template. `value`: the input so
    far."""

    kind: Literal["resource", "prompt"]
    name: str
    argument: str
    value: str
    tenant: TenantId | None = None
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    """Values of other arguments, as far as they are set."""


@dataclass(frozen=True, slots=True)
class Completion:
    values: tuple[str, ...]
    """Values to propose, at most MAX_VALUES."""
    total: int
    """The number of all matching values."""


class CompleteArgument:
    """Proposes values. Authenticates and limits like a call does, and proposes nothing that the caller could not
    list."""

    def __init__(
        self,
        *,
        callers: Callers,
        view: CallerView,
        completers: Completers | None = None,
        registry: OperationRegistry | None = None,
    ) -> None:
        """`registry`: for back ends that propose values themselves."""
        self._callers = callers
        self._view = view
        self._completers = completers or Completers()
        self._registry = registry

    async def execute(self, credential: Credential, query: CompletionQuery, door: Door) -> Completion:
        """Values for the argument. Raises ResourceNotFound, PromptNotFound, InvalidInput for an unknown argument,
        NotAuthenticated, QuotaExceeded or Unavailable."""
        caller = await self._callers.authenticate(credential)
        await self._callers.limit(caller)
        principal = caller.acting_for(query.tenant)
        if principal is None:
            raise not_found(query.kind, query.name)
        listed = await (self._of_prompt if query.kind == "prompt" else self._of_resource)(principal, query, door)
        values = await self._offered(listed[0], principal, query)
        if values is None:
            values = await self._of_back_end(listed[0], principal, credential, query)
        if values is None:
            typed = query.value.casefold()
            values = [value for value in listed[1] if value.casefold().startswith(typed)]
        return Completion(tuple(values[:MAX_VALUES]), len(values))

    async def _offered(self, operation: Operation, caller: Principal, query: CompletionQuery) -> Sequence[str] | None:
        """Values that a function of the embedding program proposes; they fit the input already."""
        others = {name: value for name, value in query.arguments.items() if name != query.argument}
        return await self._completers.offer(operation.key, query.argument, query.value, others, caller)

    async def _of_back_end(
        self, operation: Operation, caller: Principal, credential: Credential, query: CompletionQuery
    ) -> Sequence[str] | None:
        """Values that the back end proposes; None if it is none that does. One that fails proposes nothing."""
        compiled = None if self._registry is None else self._registry.compiled(operation.key)
        if compiled is None or not isinstance(compiled.backend_call, Completing):
            return None
        others = {name: value for name, value in query.arguments.items() if name != query.argument}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                bind = compiled.bind_upstream
                upstream = None if bind is None else bind(caller, token_of(credential))
                return await compiled.backend_call.complete(query.argument, query.value, others, caller, upstream)
        except (StoaError, TimeoutError):
            _log.info("the back end of %s proposes nothing now", operation.key)
            return ()

    async def _of_prompt(
        self, principal: Principal, query: CompletionQuery, door: Door
    ) -> tuple[Operation, Sequence[str]]:
        prompt = await self._view.one(Prompt, principal, door, query.name)
        if prompt is None:
            raise not_found("prompt", query.name)
        for argument in prompt.arguments:
            if argument.name == query.argument:
                return prompt, argument.completions
        raise InvalidInput(f"prompt {query.name} has no such argument")

    async def _of_resource(
        self, principal: Principal, query: CompletionQuery, door: Door
    ) -> tuple[Operation, Sequence[str]]:
        resource = await self._view.one(Resource, principal, door, query.name)
        if resource is None:
            raise not_found("resource", query.name)
        if query.argument not in resource.template.names:
            raise InvalidInput(f"resource template {query.name} has no such variable")
        if resource.key == TOOL_PAGES.key:
            return resource, [tool.name for tool in await self._view.all(Tool, principal, door, _is_any)]
        return resource, resource.completions.get(query.argument, ())


def _is_any(_: Tool) -> bool:
    return True
