"""A compiled operation: a tool, resource or prompt with all that was precomputed at its registration.

The differences between the three kinds in a call are here: the source of their arguments, and the shape of their
result.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field

from stoa.application.backends.upstream_tokens import BindUpstream
from stoa.application.catalogue.resource_contents import resource_contents
from stoa.application.ports.tool_backend import BackendCall, CallContext
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.output_schema import OutputSchema
from stoa.application.schemas.patterns import Pattern
from stoa.application.schemas.routed_arguments import RoutedArgument
from stoa.domain.calls.invocation import Invocation
from stoa.domain.errors import ContentUnavailable, InvalidInput
from stoa.domain.operations.argument_changes import ArgumentChanges
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.results.redaction import WITHHELD, redact
from stoa.domain.results.result import RawAnswer, ToolResult, shape, shape_long
from stoa.domain.schema.json_value import JsonObject

MAX_QUICK_BYTES = 2**63
"""For answers that are never cut with pieces to read, such as the contents of resources."""


@dataclass(frozen=True, slots=True)
class CompiledOperation(ABC):
    operation: Operation
    arguments: ArgumentSchema
    backend_call: BackendCall
    """For previews alone: `call` is the way to use it."""
    bind_upstream: BindUpstream | None
    """Access tokens for its back end; None: its authentication is not oauth2."""
    changes: ArgumentChanges | None = field(default=None, kw_only=True)
    """Arguments that the tool's author renamed, defaulted or fixed; `backend_call` applies them."""
    quick_bytes: int = field(default=MAX_QUICK_BYTES, kw_only=True)
    """An answer of at most so many bytes is shaped in a moment; a longer one in a thread."""
    projects: bool = field(default=False, kw_only=True)
    """True if answers are projected, which takes a thread too."""

    @property
    def patterns(self) -> Iterator[Pattern]:
        """The patterns of its schemas."""
        yield from self.arguments.patterns

    def arguments_of(self, invocation: Invocation) -> JsonObject | None:
        """The sent arguments; None if they are not a JSON object."""
        given = invocation.arguments
        is_object = isinstance(given, dict)  # pyright: ignore[reportUnnecessaryIsInstance]  # doors pass on what came
        return given if is_object else None

    def make_ready(self) -> None:
        """Compile the schemas that were left to the first call, which may take long; in any thread."""
        self.arguments.make_ready()

    def call(self, arguments: JsonObject, context: CallContext) -> Awaitable[RawAnswer | ToolResult]:
        """Call the back end with valid arguments. Raises InvalidInput for the permit of another operation; nothing is
        sent then. The permit is checked here and not in the back ends, so that no further back end can forget it."""
        if context.permit.operation != self.operation.key:
            raise InvalidInput("the permit is for another operation")
        return self.backend_call(arguments, context)

    @abstractmethod
    def shape_answer(
        self, answer: RawAnswer | ToolResult, name: str, arguments: JsonObject, redacted: Sequence[str]
    ) -> ToolResult:
        """The result for the caller, who asked for `name`. `redacted`: JSON Pointers (RFC 6901) to the parts that the
        policy hides. Raises ContentUnavailable for an answer without a structure in which they could be located."""
        ...


@dataclass(frozen=True, slots=True)
class CompiledTool(CompiledOperation):
    output: OutputSchema | None
    """None: the tool declares no structured result."""
    routed: tuple[RoutedArgument, ...]
    """Arguments that MCP clients repeat in headers."""
    notes: tuple[str, ...]
    """Warnings about properties that some clients do not accept."""
    may_become_task: bool

    def make_ready(self) -> None:
        if self.output is not None:
            self.output.make_ready()
        self.arguments.make_ready()  # last, because it is what says that all is ready

    @property
    def patterns(self) -> Iterator[Pattern]:
        yield from self.arguments.patterns
        if self.output is not None:
            yield from self.output.patterns

    def shape_answer(
        self,
        answer: RawAnswer | ToolResult,
        name: str,  # noqa: ARG002
        arguments: JsonObject,  # noqa: ARG002
        redacted: Sequence[str],
    ) -> ToolResult:
        if not isinstance(answer, RawAnswer):
            result = answer
        elif len(answer.body) <= self.quick_bytes:
            result = shape(answer)
        else:
            result = shape_long(answer, self.quick_bytes)
        if redacted:  # before it is fitted: what goes out has to satisfy the schema
            result = redact(result, redacted)
        return result if self.output is None else self.output.fit(result, is_parsed=isinstance(answer, RawAnswer))


@dataclass(frozen=True, slots=True)
class CompiledResource(CompiledOperation):
    resource: Resource

    def arguments_of(self, invocation: Invocation) -> JsonObject | None:
        """The variables in the URI that is read; arguments that the door passed are ignored."""
        return self.resource.match(invocation.name) or {}

    def shape_answer(
        self,
        answer: RawAnswer | ToolResult,
        name: str,
        arguments: JsonObject,  # noqa: ARG002
        redacted: Sequence[str],
    ) -> ToolResult:
        if redacted:
            raise ContentUnavailable(WITHHELD)
        return resource_contents(self.resource, answer, name)


@dataclass(frozen=True, slots=True)
class CompiledPrompt(CompiledOperation):
    def shape_answer(
        self,
        answer: RawAnswer | ToolResult,
        name: str,  # noqa: ARG002
        arguments: JsonObject,  # noqa: ARG002
        redacted: Sequence[str],
    ) -> ToolResult:
        if redacted:
            raise ContentUnavailable(WITHHELD)
        return shape(answer) if isinstance(answer, RawAnswer) else answer
