"""Kafka tools and the metering producer on a real broker: each way to log in, rights, times, transactions, outages."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr
from tests.infrastructure.http_client.tls_server import Identity, identity
from tests.infrastructure.kafka.brokers import SILENT, records
from tests.infrastructure.kafka.peer import context, echo, kafka_tool, produce, responding
from tests.infrastructure.rest.loopback import answer, loopback
from tests.live.servers import IS_REQUIRED, Kafka, free_port, make_topic
from tests.live.test_kafka import recorded

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import SpecPlace
from stoa.application.run_checks import Verdict
from stoa.domain.errors import BackendUnavailable, PublisherUnavailable
from stoa.domain.operations.binding import Authentication, SecretReference
from stoa.domain.origin import NamedOrigin
from stoa.domain.results.result import RawAnswer, ToolResult, shape
from stoa.infrastructure.kafka import KafkaBackend, KafkaSpecKind
from stoa.infrastructure.kafka.checkup import check_kafka
from stoa.infrastructure.kafka.login import KafkaCertificates, KafkaLogin
from stoa.infrastructure.kafka.manifest import KafkaSource
from stoa.infrastructure.kafka.publisher import KafkaEventPublisher
from stoa.infrastructure.kafka.topic_log import KafkaUsageLog
from stoa.testing.upstream_access import InMemoryUpstreamAccess

PASSWORD = "correct-horse"  # of a broker that this test starts
LISTENERS = {
    "SASL": "SASL_PLAINTEXT",
    "SASLTLS": "SASL_SSL",
    "TLS": "SSL",
    "OAUTH": "SASL_PLAINTEXT",
}


class KafkaWithEveryLogin(Kafka):
    """A listener for each way: PLAIN and SCRAM in clear text, SCRAM over TLS, mTLS, OAUTHBEARER (unsecured tokens)."""

    def __init__(self, folder: Path, certificates: Identity) -> None:
        super().__init__(folder)
        self.certificates = certificates
        self.at = {name: f"localhost:{free_port()}" for name in LISTENERS}

    def command(self) -> list[str]:
        pair = self.folder / "server.pem"
        pair.write_text(self.certificates.key.read_text() + self.certificates.chain.read_text())
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        oauth = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
        every = {"PLAINTEXT": self.servers, **self.at}
        own = {"SASL": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512", "SASLTLS": "SCRAM-SHA-512", "OAUTH": "OAUTHBEARER"}
        options = [
            "listeners="
            + ",".join(f"{name}://{place}" for name, place in every.items())
            + f",CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners=" + ",".join(f"{name}://{place}" for name, place in every.items()),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            + ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items()),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            *(f"listener.name.{name.lower()}.sasl.enabled.mechanisms={own[name]}" for name in own),
            f'listener.name.sasl.plain.sasl.jaas.config={plain} required user_stoa="{PASSWORD}";',
            f'listener.name.oauth.oauthbearer.sasl.jaas.config={oauth} required unsecuredLoginStringClaim_sub="x";',
            "listener.name.tls.ssl.client.auth=required",
        ]
        for listener, mechanism in (("sasl", "256"), ("sasl", "512"), ("sasltls", "512")):
            options.append(f"listener.name.{listener}.scram-sha-{mechanism}.sasl.jaas.config={scram} required;")
        for listener in ("sasltls", "tls"):
            options += [
                f"listener.name.{listener}.ssl.keystore.type=PEM",
                f"listener.name.{listener}.ssl.keystore.location={pair}",
                f"listener.name.{listener}.ssl.truststore.type=PEM",
                f"listener.name.{listener}.ssl.truststore.location={self.certificates.authority}",
            ]
        return [*super().command(), *options]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaWithEveryLogin]:
    if not Kafka.is_installed():
        reason = "kafka is not installed; tools/services/install.sh kafka does it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("kafka")
    server = KafkaWithEveryLogin(folder / "server", identity(folder / "certificates", "localhost", "127.0.0.1"))
    server.start()
    try:
        admin = AdminClient({"bootstrap.servers": server.servers}, logger=SILENT)
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            user = UserScramCredentialUpsertion("stoa", ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
            for done in admin.alter_user_scram_credentials([user]).values():
                done.result(30)
        yield server
    finally:
        server.stop()


@pytest.fixture
def topic(server: KafkaWithEveryLogin) -> str:
    name = f"t-{secrets.token_hex(6)}"
    make_topic(server.servers, name)
    make_topic(server.servers, f"{name}-replies")
    return name


async def called(backend: KafkaBackend, tool, arguments, **more) -> ToolResult:
    async with asyncio.timeout(60):
        answer = await backend.prepare(tool)(arguments, context(tool, **more))
    return shape(answer) if isinstance(answer, RawAnswer) else answer


def credentials(server: KafkaWithEveryLogin, password: str = PASSWORD) -> InMemoryCredentialSource:
    source, files = InMemoryCredentialSource(), server.certificates
    source.put(None, "user", {"username": "stoa", "password": password, "token": unsecured_token()})
    source.put(
        None,
        "tls",
        {"ca.crt": files.authority.read_text(), "tls.crt": files.chain.read_text(), "tls.key": files.key.read_text()},
    )
    return source


def unsecured_token() -> str:
    """RFC 7515, appendix A.5; brokers accept it where nothing else is configured."""

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': 'stoa', 'iat': now, 'exp': now + 600})}."


CA = {"ca": {"name": "tls"}}
WAYS = {
    "plain": ("SASL", {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN"}, "basic"),
    "scram-256": ("SASL", {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-256"}, "basic"),
    "scram-512": ("SASL", {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-512"}, "basic"),
    "scram-tls": ("SASLTLS", {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", **CA}, "basic"),
    "mtls": ("TLS", {"protocol": "SSL", "client": {"name": "tls"}, **CA}, "none"),
    "oauthbearer": ("OAUTH", {"protocol": "SASL_PLAINTEXT", "mechanism": "OAUTHBEARER"}, "bearer"),
}


def tool_by(server, way: str, action: str, topic: str, **binding):
    listener, security, kind = WAYS[way]
    secret = {} if kind == "none" else {"secret": {"name": "user"}}
    authentication = {"authentication": {"type": kind, **secret}}
    return kafka_tool(server.at[listener], action, topic, security=security, tool=authentication, **binding)


@pytest.mark.parametrize("way", WAYS)
async def test_kafka_tools_log_in_each_way_produce_read_and_request(server, topic, way):
    backend = KafkaBackend(credentials(server))
    written = await called(backend, tool_by(server, way, "produce", topic), {"value": {"way": way}})
    assert not written.is_error, written
    read = await called(backend, tool_by(server, way, "read", topic), {})
    assert [record["value"] for record in read.structured["records"]] == [{"way": way}]
    with responding(server.servers, f"{topic}", lambda message: echo(message) if message.headers() else ()):
        asked = tool_by(server, way, "request", topic, reply={"topic": f"{topic}-replies"})
        assert (await called(backend, asked, {"value": 1})).structured["value"] == 1
    await backend.close()


@pytest.mark.parametrize("way", ["plain", "scram-256", "scram-tls"])
async def test_kafka_wrong_password_is_told_without_it(server, topic, way):
    backend = KafkaBackend(credentials(server, "wrong-battery"))
    with pytest.raises(BackendUnavailable, match="does not accept the credential") as refused:
        await called(backend, tool_by(server, way, "produce", topic), {"value": 1})
    await backend.close()
    assert "battery" not in refused.value.message


async def test_kafka_certificate_of_an_unknown_authority_and_a_missing_one_are_told(server, topic):
    backend = KafkaBackend(credentials(server))
    for listener, security, words in (
        ("TLS", {"protocol": "SSL"}, "TLS certificate"),
        ("TLS", {"protocol": "SSL", **CA}, "client certificate|closed the connection"),
        ("PLAIN", {"protocol": "SSL", **CA}, "TLS|closed the connection"),
    ):
        tool = kafka_tool(server.at.get(listener, server.servers), "produce", topic, security=security)
        with pytest.raises(BackendUnavailable, match=words):
            await called(backend, tool, {"value": 1})
    await backend.close()


async def test_kafka_access_token_that_is_refused_is_replaced_once(server, topic):
    backend = KafkaBackend(credentials(server))
    listener, security, _ = WAYS["oauthbearer"]
    grant = {"type": "clientCredentials", "token_url": "https://idp.example/token"}
    authentication = {"type": "oauth2", "secret": {"name": "user"}, "grant": grant}
    tool = kafka_tool(server.at[listener], "produce", topic, security=security, tool={"authentication": authentication})
    access = InMemoryUpstreamAccess(["no-token", unsecured_token()])
    assert not (await called(backend, tool, {"value": 1}, upstream=access)).is_error
    await backend.close()


async def test_kafka_cluster_is_asked_for_its_topics_with_the_gateways_own_token(server, topic):
    grant = {"type": "clientCredentials", "token_url": "https://idp.example/token"}
    authentication = Authentication(type="oauth2", secret=SecretReference(name="user"), grant=grant)
    source = KafkaSource.model_validate(
        {
            "bootstrapServers": [server.at["OAUTH"]],
            "securityProtocol": "SASL_PLAINTEXT",
            "saslMechanism": "OAUTHBEARER",
            "topics": [topic],
        }
    )
    access = InMemoryUpstreamAccess([unsecured_token()])
    read = InMemorySpecSource({}).fetch
    place = SpecPlace(NamedOrigin("m.yaml"), read, authentication=authentication, access=access)
    document = await KafkaSpecKind(credentials(server)).fetch(source, place)
    assert [each["name"] for each in json.loads(document.text)["kafka"]["topics"]] == [topic]


async def test_kafka_read_begins_at_a_time(server, topic):
    backend = KafkaBackend(InMemoryCredentialSource())
    begin = 1_700_000_000_000
    produce(server.servers, topic, [{"value": str(n).encode(), "timestamp": begin + n * 1000} for n in range(20)])
    tool = kafka_tool(server.servers, "read", topic)
    read = (await called(backend, tool, {"since": "2023-11-14T22:13:30Z", "limit": 5})).structured
    assert [record["value"] for record in read["records"]] == [10, 11, 12, 13, 14]
    assert (await called(backend, tool, {"since": "2033-11-14T22:13:30Z"})).structured["records"] == []
    await backend.close()


async def test_kafka_read_shows_nothing_of_aborted_transactions(server, topic):
    producer = Producer({"bootstrap.servers": server.servers, "transactional.id": topic}, logger=SILENT)
    producer.init_transactions(30)
    for number in range(6):
        producer.begin_transaction()
        producer.produce(topic, str(number).encode(), partition=0)
        producer.abort_transaction(30) if number % 2 else producer.commit_transaction(30)
    backend = KafkaBackend(InMemoryCredentialSource())
    read = (await called(backend, kafka_tool(server.servers, "read", topic), {"limit": 3})).structured
    assert [record["value"] for record in read["records"]] == [0, 2, 4]
    await backend.close()


async def test_kafka_record_that_the_topic_finds_too_large_is_an_answer(server, topic):
    backend = KafkaBackend(InMemoryCredentialSource())
    tool = kafka_tool(server.servers, "produce", topic)
    results = await asyncio.gather(
        *(called(backend, tool, {"value": "x" * size, "partition": 0}) for size in (1, 2_000_000, 2))
    )
    assert [result.is_error for result in results] == [False, True, False]
    assert "MESSAGE_TOO_LARGE" in results[1].content[0].text
    await backend.close()


async def test_kafka_records_are_written_once_while_the_broker_dies_and_comes_back(tmp_path):
    if not Kafka.is_installed():
        pytest.skip("kafka is not installed")
    own = Kafka(tmp_path / "kafka")
    backend = KafkaBackend(InMemoryCredentialSource())
    try:
        await asyncio.to_thread(own.start)
        make_topic(own.servers, "orders")
        tool = kafka_tool(own.servers, "produce", "orders")
        calls = [asyncio.create_task(called(backend, tool, {"value": number})) for number in range(300)]
        await asyncio.wait(calls[:1])
        await asyncio.to_thread(own.kill)
        other = KafkaBackend(InMemoryCredentialSource())
        with pytest.raises(BackendUnavailable):
            await called(other, tool, {"value": "away"})
        await other.close()
        await asyncio.to_thread(own.start)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        written = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ToolResult) and not outcome.is_error]
        assert not (await called(backend, tool, {"value": "after"})).is_error
        found = [json.loads(record.value) for record in await asyncio.to_thread(records, own.servers, "orders")]
        assert len(found) == len(set(map(str, found)))
        assert {*written, "after"} <= set(found)
    finally:
        await backend.close()
        own.stop()


@pytest.mark.parametrize(
    ("listener", "protocol", "mechanism"),
    [
        ("SASL", "SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("SASL", "SASL_PLAINTEXT", "SCRAM-SHA-512"),
        ("SASLTLS", "SASL_SSL", "SCRAM-SHA-512"),
    ],
)
async def test_metering_producer_logs_in_by_scram_and_over_tls(
    server, topic, monkeypatch, listener, protocol, mechanism
):
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificates.authority))
    passwords = [(PASSWORD, True)]
    if protocol == "SASL_PLAINTEXT":  # aiokafka does not wait for the end of a TLS connection that was refused
        passwords.append(("wrong-battery", False))
    for password, is_right in passwords:
        login = KafkaLogin(protocol, mechanism, "stoa", SecretStr(password))
        publisher = KafkaEventPublisher(server.at[listener], topic=topic, login=login)
        if is_right:
            assert not await publisher.publish([recorded("a")])
        else:
            with pytest.raises(PublisherUnavailable) as refused:
                await publisher.publish([recorded("b")])
            assert "battery" not in refused.value.message
        await publisher.close()
    assert len(await asyncio.to_thread(records, server.servers, topic)) == 1


async def test_metering_producer_logs_in_by_certificate_and_by_access_token(server, topic, tmp_path):
    files = server.certificates
    pair = KafkaCertificates(files.authority, files.chain, files.key)
    both = tmp_path / "both.pem"
    both.write_text(files.chain.read_text() + files.key.read_text())
    for certificates in (pair, KafkaCertificates(files.authority, both)):
        publisher = KafkaEventPublisher(
            server.at["TLS"], topic=topic, login=KafkaLogin("SSL", certificates=certificates)
        )
        assert not await publisher.publish([recorded("a")])
        await publisher.close()

    def grant(seen):
        assert ("Authorization", f"Basic {base64.b64encode(b'stoa:geheim').decode()}") in seen.headers
        return answer(
            json.dumps({"access_token": unsecured_token(), "token_type": "Bearer", "expires_in": 60}).encode()
        )

    async with loopback(grant) as endpoint:
        login = KafkaLogin(
            "SASL_PLAINTEXT",
            "OAUTHBEARER",
            "stoa",
            SecretStr("geheim"),
            token_url=f"{endpoint.url}/token",
            scopes=("kafka", "write"),
        )
        publisher = KafkaEventPublisher(server.at["OAUTH"], topic=topic, login=login)
        assert not await publisher.publish([recorded("a")])
        await publisher.close()
        events = await asyncio.to_thread(lambda: [*KafkaUsageLog(server.at["OAUTH"], topic, login=login).events()])
        assert len(events) == 3
        checks = await check_kafka(server.at["OAUTH"], topic, login)
        assert {check.verdict for check in checks} == {Verdict.OK}
        assert b"scope=kafka+write" in endpoint.seen[0].body
    publisher = KafkaEventPublisher(server.at["OAUTH"], topic=topic, login=login)
    with pytest.raises(PublisherUnavailable):  # the endpoint is away
        await publisher.publish([recorded("b")])
    await publisher.close()
