"""Findings about valid settings: those that have no effect, contradict each other, or are misspelt.

`stoa serve` logs them, `stoa doctor` shows them; nothing is refused for them.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import urlsplit

from stoa.domain.finding import Finding, warning
from stoa.interfaces.http.guard import LOOPBACK_HOSTS
from stoa.interfaces.settings import Settings

_ALIKE = 0.86
"""Similarity (Ratcliff and Obershelp) from which a variable counts as a misspelt setting."""
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT(_\d+_\w+)?$")
"""Variables that Kubernetes creates for the services of a namespace, which may be called stoa or redis."""
_OWN_PREFIX = "STOA_"
_NOT_SETTINGS = ("STOA_TOKEN", "STOA_SECRET__")
"""Variables with our prefix that are not settings: the command line's token, and the tools' secrets."""
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_LIMITS = ("stoa_caller_limits", "stoa_tenant_limits", "stoa_consumer_limits", "stoa_stranger_limits", "replicas")
_KEYCLOAK = ("keycloak_url", "keycloak_internal_url", "keycloak_realm")
_TOKENS = (
    "keycloak_client_secret",
    "token_introspection",
    "tenant_claim",
    "roles_claim",
    "role_mapping",
    "scopes_claim",
    "oidc_scope_prefix",
    "client_id_as_audience",
)
_PROVIDERS = frozenset({"keycloak", "oidc"})
_KAFKA = (
    "metering_topic",
    "metering_envelope",
    "kafka_security_protocol",
    "kafka_sasl_mechanism",
    "kafka_username",
    "kafka_password",
)


@dataclass(frozen=True, slots=True)
class _Idle:
    """Settings without effect under a condition."""

    names: tuple[str, ...]
    is_idle: Callable[[Settings], bool]
    why: str


_RULES = (
    _Idle(_KEYCLOAK, lambda s: s.identity != "keycloak", "tokens are not Keycloak's: IDENTITY_PROVIDER is {identity}"),
    _Idle(
        _TOKENS,
        lambda s: s.identity not in _PROVIDERS,
        "no provider is asked: IDENTITY_PROVIDER is {identity}",
    ),
    _Idle(
        ("client_id_as_audience",),
        lambda s: s.identity == "keycloak",
        "it is for Amazon Cognito, and IDENTITY_PROVIDER is keycloak",
    ),
    _Idle(
        ("keycloak_client_secret",),
        lambda s: s.identity in _PROVIDERS and not s.token_introspection,
        "it is for introspection (and stoa doctor); set TOKEN_INTROSPECTION=true",
    ),
    _Idle(
        ("allowed_audiences", "require_scopes"),
        lambda s: s.identity == "none",
        "no token is read: IDENTITY_PROVIDER is none",
    ),
    _Idle(("opa_embedded", "opa_url", "opa_policy_path"), lambda s: not s.opa_enabled, "OPA_ENABLED is false"),
    _Idle(
        ("opa_url",),
        lambda s: s.opa_enabled and s.opa_embedded,
        "the policy is decided in this process; set OPA_EMBEDDED=false to ask the server",
    ),
    _Idle(
        ("opa_policy_path",),
        lambda s: s.opa_enabled and not s.opa_embedded,
        "the server at OPA_URL has the policy; set OPA_EMBEDDED=true to decide in this process",
    ),
    _Idle(
        ("metering_durability", "metering_max_bytes", "kafka_bootstrap_servers", *_KAFKA),
        lambda s: not s.metering_enabled,
        "METERING_ENABLED is false",
    ),
    _Idle(
        _KAFKA,
        lambda s: s.metering_enabled and not s.relay_servers,
        "events are not forwarded; set KAFKA_BOOTSTRAP_SERVERS",
    ),
    _Idle(
        ("kafka_sasl_mechanism", "kafka_username", "kafka_password"),
        lambda s: bool(s.relay_servers) and not s.kafka_security_protocol.startswith("SASL_"),
        "set KAFKA_SECURITY_PROTOCOL to SASL_SSL or SASL_PLAINTEXT to log in",
    ),
    _Idle(_LIMITS, lambda s: not s.rate_limit_enabled, "RATE_LIMIT_ENABLED is false"),
    _Idle(
        ("replicas",),
        lambda s: s.rate_limit_enabled and s.redis_url is not None,
        "with REDIS_URL replicas count themselves; it is used only as long as Redis was never reached",
    ),
    _Idle(("log_level",), lambda s: s.debug, "DEBUG=true logs everything"),
    _Idle(
        ("base_domain",),
        lambda s: bool(s.public_url) and (bool(s.keycloak_url) or s.identity != "keycloak"),
        "PUBLIC_URL and ALLOWED_HOSTS name the hosts that are served",
    ),
)


def settings_findings(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    """The findings, each a warning whose `where` is the variable. `environment`: the variables that the settings were
    read from."""
    return [
        *_idle(settings),
        *_contradictions(settings),
        *_misspelt(environment),
        *_of_connections(environment),
    ]


def _idle(settings: Settings) -> Iterable[Finding]:
    """Settings without effect, with the first of the reasons that apply to each."""
    reported: set[str] = set()
    for rule in _RULES:
        if not rule.is_idle(settings):
            continue
        for name in rule.names:
            if name in settings.model_fields_set and name not in reported:
                reported.add(name)
                yield warning(name.upper(), f"has no effect: {rule.why.format(identity=settings.identity)}")


def _contradictions(settings: Settings) -> Iterable[Finding]:
    resource = f"{settings.url}/mcp"
    if settings.identity != "none" and resource not in settings.audiences:
        yield warning(
            "ALLOWED_AUDIENCES",
            f"does not name {resource}, which is what clients ask tokens for (RFC 8707); add it unless the realm puts "
            "another one into every token",
        )
    for name, url in (
        ("PUBLIC_URL", settings.public_url),
        ("KEYCLOAK_URL", settings.keycloak_url),
        ("OIDC_ISSUER", settings.oidc_issuer),
    ):
        if url.startswith("http://") and not is_local(url):
            yield warning(name, "tokens and passwords travel in clear text; write https://")
    if settings.relay_servers and settings.kafka_security_protocol.startswith("SASL_"):
        missing = [name for name in ("kafka_username", "kafka_password") if not getattr(settings, name)]
        if missing:
            yield warning(missing[0].upper(), f"is empty, and {settings.kafka_security_protocol} logs in with it")
    if settings.identity in _PROVIDERS and settings.public_url and is_local(settings.public_url):
        yield warning("PUBLIC_URL", "is an address of this machine, so clients elsewhere cannot use it")


def _misspelt(environment: Mapping[str, str]) -> Iterable[Finding]:
    names = {name.upper() for name in Settings.model_fields}
    given = {name.upper() for name in environment}
    for name in sorted(given - names):
        if name.startswith(_NOT_SETTINGS) or _OF_KUBERNETES.search(name):
            continue
        meant = get_close_matches(name, names - given, n=1, cutoff=_ALIKE)
        if meant:
            yield warning(name, f"is no setting; did you mean {meant[0]}?")
        elif name.startswith(_OWN_PREFIX):
            near = get_close_matches(name.removeprefix(_OWN_PREFIX), names, n=1, cutoff=_ALIKE)
            yield warning(name, f"is no setting; did you mean {near[0]}?" if near else "is no setting")


def _of_connections(environment: Mapping[str, str]) -> Iterable[Finding]:
    """Findings about proxy and TLS variables, which the gateway's outbound connections use or ignore."""
    for name in _PROXIES:
        if environment.get(name) or environment.get(name.lower()):
            yield warning(
                name,
                "is not used: the gateway connects to the addresses that it has checked, never through a proxy; give "
                "it a route to its back ends (docs/decisions/0045-no-proxies.md)",
            )
    for name, exists in (("SSL_CERT_FILE", os.path.isfile), ("SSL_CERT_DIR", os.path.isdir)):
        path = environment.get(name)
        if path and not exists(path):
            yield warning(name, f"names {path}, which is not there, so no certificate is trusted for it")


def is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in LOOPBACK_HOSTS or f"[{host}]" in LOOPBACK_HOSTS or host.startswith("127.")
