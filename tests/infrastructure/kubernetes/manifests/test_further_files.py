"""Descriptions in several entries of ConfigMaps."""

from functools import partial

from tests.infrastructure.kubernetes.gateways import PETS, gateway_on, tool, tool_set
from tests.kubernetes import ApiServer

SPLIT = PETS.replace("responses: {", 'parameters: [{$ref: "parts.yaml#/name"}], responses: {')
PARTS = "name: {name: NAME, in: query, schema: {type: string}}"


def entries(server: ApiServer, **texts: str) -> None:
    server.put("configmaps", {"metadata": {"name": "apis", "namespace": "acme"}, "data": texts})


async def test_kubernetes_further_file_of_a_description_is_followed_also_when_it_comes_later(tmp_path):
    server = ApiServer()
    server.put("namespaces", {"metadata": {"name": "acme"}})
    entries(server, **{"pets.yaml": SPLIT})
    server.put("toolsets", tool_set("pets", openAPISpec={"url": "apis/pets.yaml"}))
    async with gateway_on(tmp_path, server) as here:

        def arguments() -> set[str]:
            tools = [one for one in here.gateway.catalogue.tools.values() if one.name == "listPets"]
            return set(tools[0].input_schema.get("properties", {})) if tools else set()

        def is_argument(name: str) -> bool:
            return arguments() == {name}

        assert arguments() == set()
        for name in ("size", "kind"):
            entries(server, **{"pets.yaml": SPLIT, "parts.yaml": PARTS.replace("NAME", name)})
            await here.until(partial(is_argument, name))
        server.put("tools", tool("ant"))
        await here.until(lambda: "ant" in here.names("acme"))
        assert arguments() == {"kind"}
