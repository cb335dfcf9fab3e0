"""ToolSets from Kafka: `spec.kafka`."""

import re
from typing import Any
from urllib.parse import urlsplit

import pydantic_core

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CredentialSource, SpecConverter, SpecDocument, SpecKind, SpecPlace
from stoa.domain.errors import BackendUnavailable, InvalidInput, Unavailable
from stoa.infrastructure.http_client import ANYWHERE, DnsLookUp, HostResolver, OutboundRules
from stoa.infrastructure.http_client.spec_authentication import NO_CALLER
from stoa.infrastructure.kafka.manifest import MEMBER, KafkaSource
from stoa.infrastructure.kafka.referenced_files import with_referenced_files
from stoa.infrastructure.kafka.security import SecretReader

MAX_LISTED_TOPICS = 500
MAX_LISTED_CHARACTERS = 16 * 1024 * 1024
"""Characters of the schemas that a registry gives for the listed topics."""
_SCHEME = "kafka://"
_ASYNCAPI = re.compile(r"""^asyncapi\s*:|["']asyncapi["']\s*:""", re.MULTILINE)


class KafkaSpecKind(SpecKind[KafkaSource]):
    """AsyncAPI documents, and clusters that are asked for their topics. `credentials`: for clusters and registries that
    want to know who asks. `rules` and `resolver`: as for calls."""

    member = MEMBER
    manifest = KafkaSource

    def __init__(
        self,
        credentials: CredentialSource | None = None,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
    ) -> None:
        self._credentials = credentials or InMemoryCredentialSource()
        self._rules = rules
        self._resolver = resolver

    def accepts(self, location: str, text: str | None) -> bool:
        """`kafka://HOST:PORT`, or an AsyncAPI document of any version and protocol."""
        if text is None:
            return location.startswith(_SCHEME)
        return _ASYNCAPI.search(text) is not None

    def source_at(self, location: str) -> KafkaSource:
        if not location.startswith(_SCHEME):
            return KafkaSource(url=location)
        parts = urlsplit(location)
        topics = [topic for topic in parts.path.strip("/").split(",") if topic]
        servers = [server if ":" in server else f"{server}:9092" for server in parts.netloc.split(",") if server]
        return KafkaSource.model_validate({"bootstrapServers": servers, "topics": topics})

    async def fetch(self, source: KafkaSource, place: SpecPlace) -> SpecDocument:
        if source.url is not None:
            return await with_referenced_files(await place.read(source.url), source.url, place)
        if source.inline is not None:
            inline = source.inline
            text = inline if isinstance(inline, str) else pydantic_core.to_json(inline).decode()
            document = SpecDocument(f"{place.origin} spec.{MEMBER}.inline", text)
            return await with_referenced_files(document, "", place)
        return await self._listed(source, place)

    def converter(self, source: KafkaSource) -> SpecConverter:
        from stoa.infrastructure.kafka.converter import KafkaConverter  # with fastavro, for Avro

        return KafkaConverter(source)

    async def _listed(self, source: KafkaSource, place: SpecPlace) -> SpecDocument:
        """The cluster's topics, with what the registry knows of them. The cluster is asked with the ToolSet's
        credential, which is meant for it."""
        from stoa.infrastructure.kafka.cluster import Cluster
        from stoa.infrastructure.kafka.login_options import LatestToken, connection_options
        from stoa.infrastructure.kafka.problems import BrokerRefusal, NoBroker, WrongAnswer, translated
        from stoa.infrastructure.kafka.registry import SchemaRegistries

        location, security = source.address or "", source.security()
        secrets = SecretReader(place.authentication, security, place.tenant, self._credentials, str(place.origin))
        if secrets.is_oauth2 and place.access is None:
            raise InvalidInput(f"spec.{MEMBER}: oauth2: {NO_CALLER} (spec.{MEMBER}.url)")
        resolver = self._resolver or HostResolver(DnsLookUp())
        registries = SchemaRegistries(self._credentials, self._rules, resolver)
        cluster: Cluster | None = None
        try:
            material = secrets.material()
            token = LatestToken(material.token if place.access is None else await place.access.token())
            options = connection_options(security, material, token, "stoa-mcp-gateway")
            cluster = Cluster(source.bootstrap_servers, options, self._rules, resolver)
            names = sorted(await cluster.topics())
            wanted = [name for name in names if not source.topics or name in source.topics]
            if len(wanted) > MAX_LISTED_TOPICS:
                raise InvalidInput(
                    f"{location}: has {len(wanted)} topics; name those that are wanted in spec.kafka.topics"
                )
            topics: list[dict[str, Any]] = []
            characters = 0
            for name in wanted:
                topic = await _described(registries, source, place, name)
                characters += sum(len(topic[part]["schema"]) for part in ("value", "key") if part in topic)
                if characters > MAX_LISTED_CHARACTERS:
                    message = (
                        f"{location}: the schemas of its topics are longer than {MAX_LISTED_CHARACTERS} characters"
                    )
                    raise InvalidInput(f"{message}; name those that are wanted in spec.kafka.topics")
                topics.append(topic)
        except BackendUnavailable as away:
            raise Unavailable(f"{location}: {away.message}") from None
        except (NoBroker, WrongAnswer, BrokerRefusal) as failure:
            reason = failure.reason if isinstance(failure, BrokerRefusal) else translated(failure, location).message
            raise Unavailable(f"{location}: {reason}") from None
        finally:
            if cluster is not None:
                await cluster.close()
            await registries.close()
            if self._resolver is None:
                await resolver.close()
        content = {MEMBER: {"bootstrapServers": [*source.bootstrap_servers], "topics": topics}}
        return SpecDocument(location, pydantic_core.to_json(content).decode(), "application/json")


async def _described(registries: Any, source: KafkaSource, place: SpecPlace, topic: str) -> dict[str, Any]:
    """By the subjects of the registry's usual strategy, TOPIC-value and TOPIC-key."""
    from stoa.infrastructure.kafka.registry import UnusableSchema

    described: dict[str, Any] = {"name": topic}
    registry = source.registry()
    if registry is None:
        return described
    for part in ("value", "key"):
        try:
            found = await registries.latest(registry, place.tenant, f"{topic}-{part}")
        except UnusableSchema as problem:
            described.setdefault("problems", []).append(f"the schema of its {part}: {problem}")
            continue
        if found is not None:
            described[part] = {
                **found.part.model_dump(mode="json"),
                "schema": found.text,
                **({"references": found.references} if found.references else {}),
            }
    return described
