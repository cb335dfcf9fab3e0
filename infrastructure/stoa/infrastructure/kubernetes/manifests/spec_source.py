"""API descriptions in ConfigMaps and Secrets."""

import base64
import binascii
import re
from dataclasses import replace

from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver
from stoa.application.ports.spec import FollowedDocuments, SpecCredential, SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.schema.json_value import JsonObject, as_object, as_text
from stoa.infrastructure.documents.spec_text import document
from stoa.infrastructure.kubernetes.api.named_objects import NamedObjects
from stoa.infrastructure.kubernetes.api.objects import Key

_LOCATION = re.compile(r"(?P<kind>configmap|secret)://(?P<namespace>[^/]+)/(?P<name>[^/]+)/(?P<entry>[^/]+)")
_KINDS = {"configmap": "ConfigMap", "secret": "Secret"}


class KubernetesSpecSource(SpecSource, FollowedDocuments, CatalogueObserver):
    """Fetches `configmap://NAMESPACE/NAME/ENTRY` and `secret://NAMESPACE/NAME/ENTRY`. The application makes these
    locations; authors of manifests cannot write them.

    A ConfigMap is followed from its first fetch until a whole load of the catalogue did not fetch it. `secrets`: those
    that the tool source follows; None: descriptions in Secrets are refused.
    """

    def __init__(self, config_maps: NamedObjects, secrets: NamedObjects | None = None) -> None:
        self._config_maps = config_maps
        self._secrets = secrets
        self._fetched: set[Key] = set()

    async def fetch(
        self,
        location: str,
        *,
        root: str = "",  # noqa: ARG002  # no files here
        credential: SpecCredential | None = None,  # noqa: ARG002  # the gateway's own rights in the cluster count
    ) -> SpecDocument:
        match = _LOCATION.fullmatch(location)
        if match is None:
            raise _no_location(location)
        key, kind = (match["namespace"], match["name"]), _KINDS[match["kind"]]
        objects = self._config_maps if match["kind"] == "configmap" else self._secrets
        if objects is None:
            raise InvalidInput(f"Secret {match['name']}: secrets are not read; set K8S_SECRETS_ENABLED")
        if objects is self._config_maps:
            self._fetched.add(key)
        await objects.follow([key])
        found, followed = objects.get(key), objects.reflector_of(key)
        if found is None or found.content is None:
            if followed is not None and followed.problem:
                raise Unavailable(f"{kind} {match['name']}: {followed.problem}")
            raise InvalidInput(f"{kind} {match['name']}: {found.problem if found else 'does not exist; create it'}")
        return replace(entry_document(location, found.content), version=f"{found.uid}/{found.version}")

    def version_of(self, location: str) -> str:
        match = _LOCATION.fullmatch(location)
        objects = None if match is None else self._config_maps if match["kind"] == "configmap" else self._secrets
        if match is None or objects is None:
            return ""
        key = (match["namespace"], match["name"])
        followed = objects.reflector_of(key)
        if followed is None or followed.problem or not followed.is_known:
            return ""
        if objects is self._config_maps:
            self._fetched.add(key)  # what is in use goes on being followed
        found = objects.get(key)
        return "none" if found is None else f"{found.uid}/{found.version}"

    async def loaded(self, load: CatalogueLoad) -> None:  # noqa: ARG002  # only that there was one
        self._config_maps.keep_only(self._fetched)
        self._fetched.clear()


def entry_document(location: str, content: JsonObject) -> SpecDocument:
    """The document at `location` in the `data` and `binaryData` of its ConfigMap or Secret. Raises InvalidInput."""
    match = _LOCATION.fullmatch(location)
    if match is None:
        raise _no_location(location)
    written = _content_of(content, match["entry"], is_encoded=match["kind"] == "secret")
    if written is None:
        # Names of a Secret's entries are not for everyone who reads the status of a manifest.
        others = _others(content) if match["kind"] == "configmap" else ""
        raise InvalidInput(f"{_KINDS[match['kind']]} {match['name']}: has no entry {match['entry']}{others}")
    return document(location, written)


def _others(content: JsonObject) -> str:
    names = sorted({*as_object(content.get("data")), *as_object(content.get("binaryData"))})
    return f"; it has {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}" if names else ""


def _no_location(location: str) -> InvalidInput:
    return InvalidInput(f"{location[:100]}: write NAME/ENTRY, a ConfigMap of the manifest's namespace")


def _content_of(content: JsonObject, entry: str, *, is_encoded: bool) -> bytes | str | None:
    """The entry of a ConfigMap, or of a Secret, whose `data` is in base64; None: there is none."""
    data, binary = as_object(content.get("data")), as_object(content.get("binaryData"))
    text = data.get(entry)
    if isinstance(text, str) and not is_encoded:
        return text
    encoded = text if isinstance(text, str) else binary.get(entry)
    if encoded is None:
        return None
    try:
        return base64.b64decode(as_text(encoded), validate=True)
    except binascii.Error:
        return None
