"""CustomResourceDefinitions of the kinds of manifests, generated from the models that read manifests."""

from collections.abc import Mapping

import yaml

from stoa.application.manifests.parse import ManifestParts
from stoa.infrastructure.kubernetes.crds.definitions import definitions

__all__ = ["definition_files", "definitions"]


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out each time: people compare definitions, and aliases hide what changed."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # of none
        return True


def definition_files(parts: ManifestParts) -> Mapping[str, str]:
    """The definitions as YAML, by the names of their files; `definitions` explains `parts`."""
    return {
        name: yaml.dump(definition, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        for name, definition in definitions(parts).items()
    }
