"""ConfigMaps and Secrets that are followed by their names."""

import asyncio

from tests.kubernetes import ApiServer, cluster_at, serving

from stoa.infrastructure.kubernetes.api import NamedObjects


async def _for_ever(seconds: float) -> None:  # no pause after a refusal ends
    await asyncio.Event().wait()


async def test_named_objects_are_waited_for_until_the_server_answered_about_each(tmp_path):
    server = ApiServer()
    server.put("configmaps", {"metadata": {"name": "apis", "namespace": "acme"}, "data": {"pets": "text"}})
    async with serving(server) as url, cluster_at(tmp_path, url, sleep=_for_ever) as cluster:
        objects = NamedObjects(cluster, "configmaps")
        await objects.follow([("acme", "apis"), ("acme", "missing")])
        found = objects.get(("acme", "apis"))
        assert found is not None and found.content == {"data": {"pets": "text"}, "binaryData": {}}
        assert objects.get(("acme", "missing")) is None
        await objects.close()


async def test_named_objects_that_the_role_forbids_are_not_waited_for(tmp_path):
    server = ApiServer()
    server.refusals["secrets"] = 403, "Forbidden"
    async with serving(server) as url, cluster_at(tmp_path, url, sleep=_for_ever) as cluster:
        objects = NamedObjects(cluster, "secrets")
        following = asyncio.create_task(objects.follow([("acme", "key")]))
        while not (reflector := objects.reflector_of(("acme", "key"))) or not reflector.problem:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert following.done(), "nothing more is waited for once the server answered"
        assert "403" in reflector.problem
        assert not reflector.is_synchronised.is_set()
        await objects.close()
