"""Kafka tools in the caller's name, on a real broker with access control: each caller has the rights of this caller."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from tests.infrastructure.kafka.brokers import SILENT
from tests.infrastructure.kafka.peer import kafka_tool
from tests.live.servers import IS_REQUIRED, Kafka, free_port, make_topic

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import RawAnswer, ToolResult, shape
from stoa.infrastructure.kafka import KafkaBackend
from stoa.testing.upstream_access import InMemoryUpstreamAccess

SECURITY = {"protocol": "SASL_PLAINTEXT", "mechanism": "OAUTHBEARER"}
GRANT = {"type": "tokenExchange", "token_url": "https://idp.example/token", "audience": "kafka"}
AUTHENTICATION = {"type": "oauth2", "secret": {"name": "kafka"}, "grant": GRANT}


class KafkaWithAccessControl(Kafka):
    """One more listener that takes unsecured tokens. Who comes without a credential may do everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.secure = f"127.0.0.1:{free_port()}"

    def command(self) -> list[str]:
        login = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
        places = f"PLAINTEXT://{self.servers},OAUTH://{self.secure}"
        return [
            *super().command(),
            f"listeners={places},CONTROLLER://127.0.0.1:{self.controller_port}",
            f"advertised.listeners={places}",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OAUTH:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=OAUTHBEARER",
            f'listener.name.oauth.oauthbearer.sasl.jaas.config={login} required unsecuredLoginStringClaim_sub="x";',
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
        ]

    def allow(self, user: str, operation: AclOperation, topic: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers}, logger=SILENT)
        pattern = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL)
        rule = AclBinding(*pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for done in admin.create_acls([rule]).values():
            done.result(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaWithAccessControl]:
    if not Kafka.is_installed():
        reason = "kafka is not installed; tools/services/install.sh kafka does it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    server = KafkaWithAccessControl(tmp_path_factory.mktemp("kafka") / "server")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def token_of(user: str) -> str:
    """RFC 7515, appendix A.5."""

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': user, 'iat': now, 'exp': now + 600})}."


async def called(backend: KafkaBackend, server: KafkaWithAccessControl, action: str, topic: str, user: str):
    tool = kafka_tool(server.secure, action, topic, security=SECURITY, tool={"authentication": AUTHENTICATION})
    access = InMemoryUpstreamAccess([token_of(user)])
    context = CallContext(Permit(tool.key, ()), Principal.of(user, roles=["viewer"]), "request-1", upstream=access)
    async with asyncio.timeout(60):
        answer = await backend.prepare(tool)({} if action == "read" else {"value": user}, context)
    result: ToolResult = shape(answer) if isinstance(answer, RawAnswer) else answer
    return result


async def test_kafka_calls_in_the_callers_name_have_each_callers_rights_at_the_broker(server) -> None:
    topic = f"t-{secrets.token_hex(6)}"
    make_topic(server.servers, topic)
    await asyncio.to_thread(server.allow, "ann", AclOperation.WRITE, topic)
    await asyncio.to_thread(server.allow, "ben", AclOperation.READ, topic)
    backend = KafkaBackend(InMemoryCredentialSource())
    await called(backend, server, "produce", topic, "ann")  # an empty topic is read without a right to read records
    calls = [(action, user) for _ in range(5) for action in ("produce", "read") for user in ("ann", "ben", "eve")]
    results = await asyncio.gather(*(called(backend, server, action, topic, user) for action, user in calls))
    allowed = {("produce", "ann"), ("read", "ben")}
    for call, result in zip(calls, results, strict=True):
        assert result.is_error == (call not in allowed), call
        if call not in allowed:
            assert "AUTHORIZATION_FAILED" in result.content[0].text
    read = await called(backend, server, "read", topic, "ben")
    assert [record["value"] for record in read.structured["records"]] == ["ann"] * 6
    await backend.close()
