"""The Kafka back end. What it does with aiokafka is in `calls` and below, which are imported with the first call, in a
thread."""

from collections.abc import Callable
from importlib.util import find_spec
from threading import Lock
from typing import Any

from stoa.application.backends.late_call import LateCall
from stoa.application.ports import BackendCall, BindingManifest, CredentialSource, NamedByManifests, ToolBackend
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.kafka.binding import KafkaBinding
from stoa.infrastructure.kafka.codec import codec_of
from stoa.infrastructure.kafka.manifest import KafkaManifest
from stoa.infrastructure.kafka.security import check_authentication


class KafkaBackend(ToolBackend, NamedByManifests):
    """Produces to, reads and asks Kafka clusters, with one client for each cluster and credential. `rules`: which
    addresses may be called. `resolver`: shared with other connections; None: its own, which asks DNS."""

    kind = "kafka"

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        count: Callable[[str], None] | None = None,
    ) -> None:
        """`count`: hears of each reply to a request of this process: `answered`, `duplicate` or `late`."""
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver
        self._clients: Any = None
        self._registries: Any = None
        self._making = Lock()
        self._tell = count
        self.replies = {"answered": 0, "duplicate": 0, "late": 0}
        """Counts of the replies to requests of this process: used, again for the same request, and after its
        deadline."""

    @property
    def open_requests(self) -> int:
        """Requests that wait for their replies now."""
        return 0 if self._clients is None else int(self._clients.open_requests)

    def manifest(self) -> type[BindingManifest]:
        return KafkaManifest

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, KafkaBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not kafka")
        if find_spec("aiokafka") is None:
            raise InvalidInput(f"Tool {tool.key}: kafka tools need the extra kafka (aiokafka)")
        binding, whose = tool.binding, f"tool {tool.key}"
        check_authentication(tool.authentication, binding.security, whose)
        if binding.action == "request" and binding.reply is None:
            raise InvalidInput(f"{whose}: a request needs spec.kafka.reply")
        for part in (binding.value, binding.key, *(() if binding.reply is None else (binding.reply.value,))):
            codec_of(part)
        return LateCall(lambda: self._made(tool, binding))

    def _made(self, tool: Operation, binding: KafkaBinding) -> Any:
        """In a thread; the lock keeps first calls that come together to one set of clients."""
        from stoa.infrastructure.kafka.calls import call_of  # with aiokafka, for those who call such tools
        from stoa.infrastructure.kafka.clients import Clients
        from stoa.infrastructure.kafka.registry import SchemaRegistries

        with self._making:
            if self._clients is None:
                self._clients = Clients(self._credentials, self._rules, self._resolver, self._count)
                self._registries = SchemaRegistries(self._credentials, self._rules, self._resolver)
        return call_of(tool, binding, self._credentials, self._clients, self._registries)

    async def close(self) -> None:
        clients, registries, self._clients, self._registries = self._clients, self._registries, None, None
        if clients is not None:
            await clients.close()
            await registries.close()

    def _count(self, fate: str) -> None:
        self.replies[fate] += 1
        if self._tell is not None:
            self._tell(fate)
