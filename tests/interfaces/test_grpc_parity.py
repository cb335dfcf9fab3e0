"""A gRPC tool behind every door: the same decision, answer, event and audit line as any other tool's."""

from tests.infrastructure.grpc.loopback import echo_descriptors, serving, tools_of
from tests.interfaces.doors import new_world
from tests.interfaces.test_parity import DOORS, Call, _recorded

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.infrastructure.grpc import GrpcBackend


async def _echo(method, messages, context):
    return messages


async def test_grpc_tool_is_decided_answered_metered_and_audited_alike_by_every_door(capsys):
    backend = GrpcBackend(InMemoryCredentialSource())
    async with serving(echo_descriptors(), _echo) as server:
        seen = {}
        for name, door in DOORS.items():
            world = new_world(backends=[backend])
            world.gateway.add(*tools_of(echo_descriptors(), server.target).values())
            for tool, arguments in (("Echo_Say", {"text": "x"}), ("Echo_Say", {"big": "x"}), ("Echo_Store", {})):
                world.forget()
                said = await door(world, Call(tool, arguments, "alpha-viewer", None, 0))
                text = "" if said.error else said.text
                seen.setdefault((tool, str(arguments)), {})[name] = (said.status, said.error, text, _recorded(world))
        await backend.close()
    for by_door in seen.values():
        assert len({str(recorded) for recorded in by_door.values()}) == 1, by_door
    assert [seen.method for seen in server.seen] == ["Say"] * len(DOORS)
    capsys.readouterr()
