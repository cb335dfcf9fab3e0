"""The governed core as one object: doors call it, and other programs embed it.

    gateway = Gateway()

    @gateway.tool(tags=["math"])
    def add(a: int, b: int) -> int:
        "Add two numbers."
        return a + b

    outcome = await gateway.invoke("add", {"a": 1, "b": 2}, Principal.of("ada", roles=["viewer"]))

Every part is a port with an in-memory default; pass another adapter to replace it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, overload

import pydantic_core

from stoa.application.admission.callers import Callers
from stoa.application.admission.refusals import Refusals
from stoa.application.admission.strangers import Strangers
from stoa.application.answers.answer_pieces import ANSWER_PIECES, AnswerPieces
from stoa.application.answers.long_answers import LongAnswers
from stoa.application.backends.local_backend import Function, LocalBackend, name_of
from stoa.application.backends.local_content import prompt_of, resource_of
from stoa.application.backends.resource_access import ResourceAccess
from stoa.application.backends.static_backend import StaticBackend
from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.calls.explain_call import ExplainCall
from stoa.application.calls.invoke_operation import InvokeOperation
from stoa.application.catalogue.api_descriptions import ApiDescriptions
from stoa.application.catalogue.caller_view import CallerView
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.compiled_operation import CompiledTool
from stoa.application.catalogue.complete_argument import CompleteArgument
from stoa.application.catalogue.completers import Completer, Completers
from stoa.application.catalogue.list_operations import ListOperations, ListQuery, Page
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.catalogue.tool_pages import TOOL_PAGES, ToolPages
from stoa.application.catalogue.watch_resources import WatchResources
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.manifests.parse import binding_manifests
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.answer_store import InMemoryAnswerStore
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.ids import UuidFactory
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import InMemoryRateLimiter
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.metering.budgets import Budgets
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder
from stoa.application.policy.token_scoped_policy import TokenScopedPolicy
from stoa.application.ports.answer_store import AnswerStore
from stoa.application.ports.approvals import Approvals
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.catalogue_observer import CatalogueObserver
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import Clock, IdFactory
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.metering import MeteringSink
from stoa.application.ports.operation_source import OperationSource
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.application.ports.spec import ConversionOptions, SpecDocument, SpecSource
from stoa.application.ports.spec_kind import SpecKind
from stoa.application.ports.task_store import TaskStore
from stoa.application.ports.token_counter import TokenCounter
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.application.ports.tool_backend import ReadingResources, ToolBackend
from stoa.application.ports.tool_source import ToolSource
from stoa.application.schemas.routed_arguments import RoutedArgument
from stoa.domain.access.caller_limits import DEFAULT_STRANGER_LIMITS, CallerLimits, StrangerLimits
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import Credential, Invocation, Outcome
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.client_requests.rules import DEFAULT_CLIENT_REQUESTS, ClientRequests
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, Severity
from stoa.domain.metering.price_list import PriceList
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import Kind, Operation, OperationKey
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.token_budget import NO_BUDGET, TokenBudget
from stoa.domain.operations.tool import LocalBinding, TaskSupport, Tool, ToolAnnotations
from stoa.domain.origin import NamedOrigin
from stoa.domain.policy.decision import Door
from stoa.domain.schema.json_value import JsonObject, is_object

F = TypeVar("F", bound=Function)


class Gateway:
    """Wires the use cases. The doors reach them as attributes; embedding programs use the methods. `client_requests`:
    rules for client requests, in addition to `policy`. `credentials`: the secrets of fixed arguments. `executor`: runs
    the parsing and conversion of manifests and API descriptions; it is not closed here. `lower_access`: tenants whose
    manifests may require less than their method, such as `stoa:read` for a POST. `tokens`: counts for token budgets;
    `token_budget`: that of the catalogue."""

    def __init__(
        self,
        *,
        verifier: TokenVerifier | None = None,
        policy: PolicyEngine | None = None,
        limiter: RateLimiter | None = None,
        sink: MeteringSink | None = None,
        tasks: TaskStore | None = None,
        answers: AnswerStore | None = None,
        backends: Sequence[ToolBackend] = (),
        sources: Sequence[ToolSource] = (),
        operation_sources: Sequence[OperationSource] = (),
        specs: SpecSource | None = None,
        spec_kinds: Sequence[SpecKind[Any]] = (),
        executor: BoundedExecutor | None = None,
        upstream_tokens: UpstreamTokens | None = None,
        credentials: CredentialSource | None = None,
        observers: Sequence[InvocationObserver] = (),
        refusal_watchers: Sequence[RefusalWatcher] = (),
        catalogue_observers: Sequence[CatalogueObserver] = (),
        clock: Clock | None = None,
        ids: IdFactory | None = None,
        prices: PriceList = PriceList(),
        budgets: Budgets | None = None,
        limits: CallerLimits = CallerLimits(),
        stranger_limits: StrangerLimits | None = DEFAULT_STRANGER_LIMITS,
        anonymous: Principal | None = None,
        client_requests: ClientRequests = DEFAULT_CLIENT_REQUESTS,
        lower_access: Collection[str] = (),
        approvals: Approvals | None = None,
        tokens: TokenCounter | None = None,
        token_budget: TokenBudget = NO_BUDGET,
        report: ReportDefect = log_defect,
    ) -> None:
        clock = clock or SystemClock()
        policy = TokenScopedPolicy(policy or RulesPolicyEngine())
        limiter = limiter or InMemoryRateLimiter(clock)
        access = ResourceAccess(self._execute, self._announce)
        self._local = LocalBackend(access)
        self._completers = Completers()
        view = self._view = CallerView(lambda: self.registry.catalogue, policy)
        pieces = AnswerPieces(answers or InMemoryAnswerStore(clock))
        self._backends = (self._local, StaticBackend(), ToolPages(view), pieces, *backends)
        for backend in self._backends:
            if isinstance(backend, ReadingResources):
                backend.read_with(access.read)
        self._manifests = InMemoryToolSource()
        self.specs = SpecKinds(spec_kinds, specs or InMemorySpecSource(), upstream_tokens)
        self._upstream_tokens = upstream_tokens
        self.registry = OperationRegistry(self._backends, upstream_tokens, credentials)
        self.loader = CatalogueLoader(
            sources=(*sources, self._manifests),
            operation_sources=operation_sources,
            observers=catalogue_observers,
            specs=self.specs,
            bindings=binding_manifests(self._backends),
            registry=self.registry,
            executor=executor,
            clock=clock,
            lowering=lower_access,
            approvals=approvals,
            tokens=tokens,
            token_budget=token_budget,
            credentials=credentials,
            report=report,
        )
        ids = ids or UuidFactory()
        verifier = verifier or InMemoryTokenVerifier({}, clock)
        recorder = self._recorder = Recorder(sink or InMemoryMeteringSink(), observers, clock, ids)
        self.refusals = Refusals(refusal_watchers)
        """Refusals, for the doors: they report every answer that is a refusal."""
        self.callers = Callers(
            verifier=verifier,
            limiter=limiter,
            clock=clock,
            limits=limits,
            anonymous=anonymous,
        )
        self.strangers = Strangers(stranger_limits, recorder, clock, self.callers.knows)
        """Limits of unauthenticated requests, for the doors that anyone can reach."""
        self.budgets = budgets
        pricing = self.pricing = Pricing(prices)
        self._long_answers = LongAnswers(pieces)
        self.invoke_operation = InvokeOperation(
            callers=self.callers,
            registry=self.registry,
            policy=policy,
            limiter=limiter,
            recorder=recorder,
            ids=ids,
            pricing=pricing,
            budgets=budgets,
            client_requests=client_requests,
            long_answers=self._long_answers,
        )
        self.explain_call = ExplainCall(
            callers=self.callers,
            registry=self.registry,
            policy=policy,
            limiter=limiter,
            pricing=pricing,
            clock=clock,
        )
        self.api_descriptions = ApiDescriptions(self.callers, self.loader)
        self.tasks = tasks or InMemoryTaskStore(clock)
        """Stored tasks, for the doors that let calls go on in the background."""
        self.list_tools = ListOperations(Tool, callers=self.callers, view=view)
        self.list_resources = ListOperations(Resource, callers=self.callers, view=view)
        self.list_prompts = ListOperations(Prompt, callers=self.callers, view=view)
        self.complete_argument = CompleteArgument(
            callers=self.callers, view=view, completers=self._completers, registry=self.registry
        )
        self.watch_resources = WatchResources(self.registry, policy, view)
        self.add(TOOL_PAGES, ANSWER_PIECES)

    async def invoke(
        self,
        tool: str,
        arguments: JsonObject,
        credential: Credential,
        *,
        tenant: str | None = None,
        consumer: str = "library",
        request_id: str | None = None,
        kind: Kind = "tool",
        channel: ClientChannel | None = None,
        trace: TraceContext | None = None,
    ) -> Outcome:
        """Call a tool as `credential`: a Principal that you vouch for, or a BearerToken to verify.

        `kind="resource"` reads the resource whose URI is given, `kind="prompt"` gets a prompt. `channel`: the way back
        to the client, which answers requests of the call. `trace`: the distributed trace that the call belongs to.
        Arguments that are no JSON (a circle, thousands of levels) are refused like invalid ones.
        """
        return await self.invoke_operation.execute(
            Invocation(
                credential=credential,
                name=tool,
                arguments=_plain(arguments),
                door="library",
                tenant=None if tenant is None else TenantId(tenant),
                consumer=consumer,
                request_id=request_id,
                kind=kind,
                trace=trace,
            ),
            channel,
        )

    async def routed_arguments(
        self, caller: Principal, tenant: TenantId | None, name: str, door: Door, arguments: Any
    ) -> tuple[tuple[RoutedArgument, ...], Any]:
        """The arguments of this tool that are repeated in headers, none when the caller may not list it, and
        `arguments` as the tool would get them. `caller` is authenticated; its limit is not counted, for the call that
        follows counts."""
        principal = caller.acting_for(tenant)
        compiled = None if principal is None else self.registry.find(principal.tenant, name)
        if principal is None or not isinstance(compiled, CompiledTool) or not compiled.routed:
            return (), arguments
        if await self._view.one(Tool, principal, door, name) is None:
            return (), arguments
        if not compiled.arguments.is_ready:
            await self.registry.make_ready(compiled)
        return compiled.routed, compiled.arguments.normalise(arguments) if is_object(arguments) else arguments

    async def tools(self, credential: Credential, query: ListQuery = ListQuery(), door: Door = "library") -> Page[Tool]:
        """One page of the tools that `credential` may call."""
        return await self.list_tools.execute(credential, query, door)

    @property
    def catalogue(self) -> Catalogue:
        """The tools, resources and prompts in use now: an immutable snapshot."""
        return self.registry.catalogue

    def add_tools(self, *tools: Tool) -> None:
        """Register tools. Raises InvalidInput, naming each that cannot be registered; the others are."""
        self.add(*tools)

    def add(self, *operations: Operation) -> None:
        """Register tools, resources and prompts, as `add_tools` does."""
        _raise_errors(self.loader.publisher.register(operations), {str(one.key) for one in operations})

    def remove(self, *names: str, kind: Kind = "tool", tenant: str | None = None) -> None:
        """Undo `add`, `tool`, `resource` and `prompt` for what has these names (a resource's is its URI).

        Calls that begin from now on do not find them, those that run go on, and clients hear that their list changed.
        What manifests and sources give is not the program's, and stays. Raises OperationNotFound, before anything is
        removed, for a name that was not registered."""
        owner = None if tenant is None else TenantId(tenant)
        gone = self.loader.publisher.unregister({OperationKey(owner, name, kind) for name in names})
        for operation in gone:
            self._completers.remove(operation.key)
        for function in _functions_of(gone) - _functions_of(self.catalogue.operations.values()):
            self._local.remove(function)

    @overload
    def tool(self, function: F, **options: Any) -> F: ...
    @overload
    def tool(self, function: None = None, **options: Any) -> Callable[[F], F]: ...
    def tool(
        self,
        function: Function | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        tenant: str | None = None,
        tags: Sequence[str] = (),
        annotations: ToolAnnotations = ToolAnnotations(),
        tasks: TaskSupport = "never",
        **rest: Any,
    ) -> Any:
        """Register a Python function; usable with and without parentheses. Types of its parameters become the input
        schema, its docstring the description; one with the type Context gives the way back to the client. `tasks`: may
        its calls go on in the background. `rest` are further fields of Tool."""

        def register(target: Function) -> Function:
            tool_name = name or name_of(target)
            key = f"{tenant or 'global'}/{tool_name}"
            schema = self._local.add(key, target)
            self.add_tools(
                Tool.model_validate(
                    {
                        "name": tool_name,
                        "tenant": tenant,
                        "description": description or _doc(target),
                        "input_schema": schema,
                        "tags": tuple(tags),
                        "annotations": annotations,
                        "tasks": tasks,
                        "binding": LocalBinding(function=key),
                        **rest,
                    }
                )
            )
            return target

        return register if function is None else register(function)

    def resource(
        self,
        uri: str,
        *,
        name: str | None = None,
        description: str | None = None,
        tenant: str | None = None,
        completions: Mapping[str, Sequence[str] | Completer] = MappingProxyType({}),
        **rest: Any,
    ) -> Callable[[F], F]:
        """Register a function that reads a resource: `uri` is its URI, or a template whose `{variables}` are the
        function's parameters. It returns str, bytes or a ToolResult. `completions`: as for `prompt`, of variables.
        `rest` are further fields of Resource."""

        def register(target: F) -> F:
            key = f"{tenant or 'global'}/resource:{uri}"
            fields = {"name": name or name_of(target), "description": description or _doc(target), "tenant": tenant}
            resource = resource_of(uri, key, self._local.add(key, target), _listed(completions), fields | rest)
            self._complete(resource, completions, resource.template.names)
            self.add(resource)
            return target

        return register

    @overload
    def prompt(self, function: F, **options: Any) -> F: ...
    @overload
    def prompt(self, function: None = None, **options: Any) -> Callable[[F], F]: ...
    def prompt(
        self,
        function: Function | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        tenant: str | None = None,
        completions: Mapping[str, Sequence[str] | Completer] = MappingProxyType({}),
        **rest: Any,
    ) -> Any:
        """Register a function that writes a prompt; usable with and without parentheses. Its parameters are the
        arguments, which arrive as text. It returns str or a list of PromptMessage. `completions`: values to propose
        for a parameter, or a function that finds them (see `stoa.application.catalogue.completers`); an Enum or a
        Literal needs
        none. `rest` are further fields of Prompt."""

        def register(target: Function) -> Function:
            prompt_name = name or name_of(target)
            key = f"{tenant or 'global'}/prompt:{prompt_name}"
            fields = {"description": description or _doc(target), "tenant": tenant, **rest}
            prompt = prompt_of(prompt_name, key, self._local.add(key, target), _listed(completions), fields)
            self._complete(prompt, completions, [argument.name for argument in prompt.arguments])
            self.add(prompt)
            return target

        return register if function is None else register(function)

    def _complete(
        self, operation: Operation, completions: Mapping[str, Sequence[str] | Completer], names: Sequence[str]
    ) -> None:
        for name, proposed in completions.items():
            if name not in names:
                raise InvalidInput(f"{operation.identifier}: completions for {name}, which is no parameter")
            if callable(proposed):
                self._completers.add(operation.key, name, proposed)

    def resource_updated(self, uri: str, *, tenant: str | None = None) -> None:
        """Notify callers who watch it that the contents under `uri` have changed: with `tenant` the callers of that
        tenant, without it all who see the global resource. May be called from any thread; bursts are folded. Raises
        ResourceNotFound if there is no such resource."""
        self._announce(uri, None if tenant is None else TenantId(tenant))

    async def _execute(self, invocation: Invocation) -> Outcome:
        return await self.invoke_operation.execute(invocation)

    def _announce(self, uri: str, tenant: TenantId | None) -> None:
        self.watch_resources.announce(uri, tenant)

    def add_openapi(
        self, text: str, *, location: str = "openapi", options: ConversionOptions = ConversionOptions()
    ) -> list[Finding]:
        """Register the operations of an OpenAPI document (JSON or YAML); returns findings about parts that were left
        out or changed.

        Needs `spec_kinds=[OpenApiSpecKind()]` and a REST back end. Raises InvalidInput for any other document.
        """
        kind = self.specs.get("openAPISpec")
        if kind is None:
            raise InvalidInput("pass spec_kinds=[OpenApiSpecKind()] to Gateway to use OpenAPI documents")
        converter = kind.converter(kind.source_at(location))
        conversion = converter.convert(SpecDocument(location, text), options)
        return [*conversion.findings, *self.loader.publisher.register(conversion.tools)]

    async def add_manifest(
        self, content: JsonObject, *, origin: str = "manifest", tenant: str | None = None
    ) -> list[Finding]:
        """Register a manifest under `origin`, replacing what stood there before. `tenant`: the tenant whose team wrote
        it; it can be of no other, takes no name of the program's own, and names no files.

        Raises InvalidInput when the manifest is wrong or a tool of it cannot be registered; returns the findings about
        its operations.
        """
        self._manifests.put(origin, content, tenant=None if tenant is None else TenantId(tenant))
        findings = await self.loader.execute()
        place = NamedOrigin(origin)
        keys = {str(one.key) for one in self.loader.operations_of(place)}
        # Also what another manifest lost to it: of two with one name the program should hear at once.
        mine = [finding for finding in findings if finding.origin == place or finding.where in keys]
        _raise_errors(mine, {origin, *keys})
        return mine

    async def remove_manifest(self, origin: str = "manifest") -> None:
        """Undo `add_manifest`: its operations are gone, as by `remove`. An unknown origin changes nothing."""
        self._manifests.remove(origin)
        await self.loader.execute()

    async def flush_refusals(self) -> None:
        """Record the refused calls that were only counted so far, as happens once a minute and at `close`."""
        await self._recorder.flush()

    async def close(self) -> None:
        """Release the connections to back ends and to token endpoints, and record the refusals that were only
        counted so far."""
        await self.watch_resources.following.close()
        for backend in self._backends:
            await backend.close()
        self._completers.close()
        self._long_answers.close()
        if self._upstream_tokens is not None:
            await self._upstream_tokens.close()
        await self._recorder.close()


def _functions_of(operations: Iterable[Operation]) -> set[str]:
    return {one.binding.function for one in operations if isinstance(one.binding, LocalBinding)}


def _doc(function: Function) -> str:
    return (function.__doc__ or "").strip()


def _listed(completions: Mapping[str, Sequence[str] | Completer]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in completions.items() if not callable(values)}


def _plain(arguments: Any) -> Any:
    """`arguments` as a parser would have made them; None if there is no such form, which the pipeline refuses and
    meters. A validator in native code would not survive endless nesting."""
    try:
        pydantic_core.to_json(arguments)
    except ValueError:
        return None
    return arguments


def _raise_errors(findings: Sequence[Finding], places: set[str]) -> None:
    problems = [str(f) for f in findings if f.severity is Severity.ERROR and f.where in places]
    if problems:
        raise InvalidInput("; ".join(problems))
