"""Rego policies evaluated in this process.

Decisions that the policy marks as cacheable are cached by caller, operation and door; the others are evaluated each
time. A new bundle starts with an empty cache, so no decision outlives its policy.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput, PolicyUnavailable
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door, PolicyQuery
from stoa.infrastructure.opa.bundle import PolicyBundle, read_bundle
from stoa.infrastructure.opa.documents import (
    DECISION,
    VISIBLE,
    InputWriter,
    PolicyAnswerInvalid,
    decision_of,
    positions_of,
)
from stoa.infrastructure.opa.module_cache import ModuleCache
from stoa.infrastructure.opa.wasm import Compiler, PolicyEvaluationFailed, WasmPolicy

T = TypeVar("T")
O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind

DEFAULT_BUNDLE = Path(__file__).with_name("default_bundle.tar.gz")
"""The policies in this folder, compiled. `make policy` writes it; the same sources give the same bytes."""

_KEPT = 100_000
_BATCH = 1000

_log = logging.getLogger(__name__)

_Key = tuple[str, str, Door]


class _Loaded:
    """A loaded policy with the cache of its decisions."""

    __slots__ = ("decisions", "digest", "policy", "visible")

    def __init__(self, policy: WasmPolicy, digest: str) -> None:
        self.policy = policy
        self.digest = digest
        self.decisions: BoundedCache[_Key, Decision] = BoundedCache(_KEPT)
        self.visible: BoundedCache[_Key, bool] = BoundedCache(_KEPT)


class OpaWasmPolicyEngine(PolicyEngine, HealthProbe):
    """Decides by a bundle in this process. `environment`: the value of input.environment.name. `cache`: stores compiled
    policies."""

    name = "policy"

    def __init__(
        self, path: Path = DEFAULT_BUNDLE, *, environment: str = "dev", cache: ModuleCache | None = None
    ) -> None:
        """Loads the bundle. Raises InvalidInput if it cannot be used."""
        self.path = path
        self._compiler = Compiler()
        self._cache = cache
        self._writer = InputWriter(environment)
        self._loaded = self._load(read_bundle(path))
        self._finding: str | None = None
        self._has_watched = False

    async def decide(self, query: PolicyQuery) -> Decision:
        loaded = self._loaded
        key = (query.principal.authorization_key, query.operation.fingerprint, query.door)
        cached = loaded.decisions.get(key) if query.client_request is None else None
        if cached is not None:
            return cached
        decision, is_cacheable = self._evaluate(loaded, DECISION, self._writer.question(query), decision_of)
        if is_cacheable and query.client_request is None:
            loaded.decisions.put(key, decision)
        return decision

    async def visible(self, principal: Principal, tools: Sequence[O], door: Door) -> Sequence[O]:
        loaded, who = self._loaded, principal.authorization_key
        # Its own copy: others may evict its entries while a long list is being decided.
        answers = {tool.fingerprint: loaded.visible.get((who, tool.fingerprint, door)) for tool in tools}
        unknown = [tool for tool in tools if answers[tool.fingerprint] is None]
        for start in range(0, len(unknown), _BATCH):
            if start:
                await asyncio.sleep(0)  # a long list must not keep other calls waiting
            batch: list[Operation] = [*unknown[start : start + _BATCH]]
            document = self._writer.listing(principal, batch, door)
            positions = self._evaluate(loaded, VISIBLE, document, partial(positions_of, count=len(batch)))
            answers.update((tool.fingerprint, position in positions) for position, tool in enumerate(batch))
        for tool in unknown:
            loaded.visible.put((who, tool.fingerprint, door), bool(answers[tool.fingerprint]))
        return [tool for tool in tools if answers[tool.fingerprint]]

    async def watch(self) -> None:
        """Reloads the bundle when its file changes, until cancelled. A restarted watch reloads first, because it may
        have missed a change."""
        name = self.path.name
        if self._has_watched:
            await self.reload()
        self._has_watched = True

        def is_ours(_: Change, path: str) -> bool:
            return Path(path).name == name

        async for _ in awatch(self.path.parent, watch_filter=is_ours):
            await self.reload()

    async def reload(self) -> bool:
        """Switches to the bundle that the file now holds, atomically. False: it cannot be used, and the last good one
        stays."""
        try:
            loaded = await asyncio.to_thread(lambda: self._load(read_bundle(self.path)))
        except InvalidInput as caught:
            self._finding = caught.message
            _log.error("the policy was not replaced: %s", caught.message)
            return False
        self._finding = None
        if loaded.digest != self._loaded.digest:
            self._loaded = loaded
            _log.info("policy replaced", extra={"digest": loaded.digest})
        return True

    def health(self) -> Health:
        findings = () if self._finding is None else (self._finding,)
        return Health(True, f"bundle {self._loaded.digest[:12]}", findings)

    def _load(self, bundle: PolicyBundle) -> _Loaded:
        module = (
            self._compiler.compile(bundle.wasm)
            if self._cache is None
            else self._cache.module(self._compiler, bundle.wasm)
        )
        policy = WasmPolicy(self._compiler, module, bundle.data)
        missing = sorted({DECISION, VISIBLE} - policy.entrypoints.keys())
        if missing:
            raise InvalidInput(f"{self.path}: build it with the entrypoint {' and '.join(missing)}")
        return _Loaded(policy, bundle.digest)

    def _evaluate(self, loaded: _Loaded, entrypoint: str, document: bytes, read: Callable[[Any], T]) -> T:
        try:
            return read(loaded.policy.evaluate(entrypoint, document))
        except (PolicyEvaluationFailed, PolicyAnswerInvalid) as caught:
            _log.error("the policy gave no decision: %s", caught, extra={"digest": loaded.digest})
            raise PolicyUnavailable("The policy gave no decision, so the call is refused") from caught
