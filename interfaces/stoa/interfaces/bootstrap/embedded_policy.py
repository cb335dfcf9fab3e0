"""The embedded Rego policy. It has its own module so that wasmtime is imported only if it is used."""

import logging

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.files.credentials.deployment_secret import load_or_create
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine
from stoa.infrastructure.opa.module_cache import ModuleCache
from stoa.interfaces.bootstrap.parts import PolicyPart
from stoa.interfaces.settings import Settings

_log = logging.getLogger(__name__)


def embedded_policy(settings: Settings) -> PolicyPart:
    """The bundle of OPA_POLICY_PATH, watched for changes, or the one that ships."""
    path = settings.opa_policy_path or DEFAULT_BUNDLE
    engine = OpaWasmPolicyEngine(path, environment=settings.environment, cache=_module_cache(settings))
    watched = {"policy": engine.watch} if settings.opa_policy_path else {}
    return PolicyPart(engine, probes=(engine,), background=watched, reloads={"policy": engine.reload})


def _module_cache(settings: Settings) -> ModuleCache | None:
    """The cache of compiled policies. None without a secret that authenticates its files: the policy is then compiled
    at each start."""
    given = settings.state_secret
    try:
        secret = load_or_create(settings.data_dir) if given is None else given.get_secret_value().encode()
    except InvalidInput as caught:
        _log.warning("compiled policies are not kept: %s", caught.message)
        return None
    return ModuleCache(settings.data_dir / "policy-cache", secret)
