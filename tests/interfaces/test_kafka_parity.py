"""A Kafka tool behind every door: the same decision, answer, event and audit line as any other tool's."""

from tests.infrastructure.kafka.brokers import mock_cluster
from tests.infrastructure.kafka.peer import echo, kafka_tool, make_topics, responding
from tests.interfaces.doors import new_world
from tests.interfaces.test_parity import DOORS, Call, _recorded

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.infrastructure.kafka import KafkaBackend
from stoa.infrastructure.kafka.tool_schemas import PartSchema, read_arguments, write_arguments


async def test_kafka_tools_are_decided_answered_metered_and_audited_alike_by_every_door(capsys):
    backend = KafkaBackend(InMemoryCredentialSource())
    written = write_arguments(PartSchema({"type": "string"}), PartSchema({"type": "string"}), None, {})
    seen = {}
    with mock_cluster(1) as servers, responding(servers, "asked", echo) as responder:
        make_topics(servers, "empty", "replies")
        request = kafka_tool(servers, "request", "asked", reply={"topic": "replies"}, tool={"input_schema": written})
        read = kafka_tool(servers, "read", "empty")
        read = kafka_tool(
            servers,
            "read",
            "empty",
            tool={"input_schema": read_arguments(PartSchema({"type": "string"}), {}, read.binding.read)},
        )
        for name, door in DOORS.items():
            world = new_world(backends=[backend])
            world.gateway.add(request, read)
            for tool, arguments, caller in (
                ("request", {"value": "x"}, "alpha-admin"),
                ("request", {"content": "x"}, "alpha-admin"),
                ("request", {"value": "x"}, "alpha-viewer"),
                ("read", {}, "alpha-viewer"),
            ):
                world.forget()
                said = await door(world, Call(tool, arguments, caller, None, 0))
                kind = "" if said.error or tool == "request" else said.text
                seen.setdefault((tool, str(arguments), caller), {})[name] = (
                    said.status,
                    said.error,
                    kind,
                    _recorded(world),
                )
        await backend.close()
    for by_door in seen.values():
        assert len({str(recorded) for recorded in by_door.values()}) == 1, by_door
    assert len(responder.received) == len(DOORS)
    capsys.readouterr()
