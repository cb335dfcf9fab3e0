"""A ToolSet that has no manifest file, and the description that it follows."""

import asyncio
import os

from stoa.application.ports import ManifestDocument
from stoa.domain.origin import NamedOrigin
from stoa.infrastructure.files.manifests import FollowedToolSource

MANIFEST = ManifestDocument(NamedOrigin("pets.yaml"), {"kind": "ToolSet"})


async def test_followed_description_announces_a_change_and_its_end(tmp_path):
    file = tmp_path / "pets.yaml"
    file.write_text("1")
    source = FollowedToolSource(MANIFEST, file)
    assert await source.read() == [MANIFEST]
    changes = source.changes()
    file.write_text("2")
    os.utime(file, (1, 1))
    await asyncio.wait_for(anext(changes), 10)
    assert await source.read() == [MANIFEST]
    file.unlink()
    await asyncio.wait_for(anext(changes), 10)
