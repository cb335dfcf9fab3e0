"""Settings that do nothing, contradict each other or are misspelt are named, and others are not."""

from typing import Any

import pytest

from stoa.interfaces.settings import Settings
from stoa.interfaces.settings_findings import settings_findings

KEYCLOAK = {"keycloak_url": "https://id.example", "environment": "prod"}
KAFKA = {"kafka_bootstrap_servers": "k:9092"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def found(variables: dict[str, str] | None = None, **given: Any) -> dict[str, str]:
    return {one.where: one.message for one in settings_findings(Settings(**given), variables or {})}


def test_settings_of_a_whole_deployment_have_no_findings() -> None:
    deployment = {
        **KEYCLOAK,
        **KAFKA,
        "public_url": "https://gw.example",
        "keycloak_client_secret": "s",
        "token_introspection": True,
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_username": "u",
        "kafka_password": "p",
        "metering_topic": "t",
        "redis_url": "redis://r:6379/0",
        "sessions": "redis",
        "stoa_caller_limits": {},
        "log_level": "info",
        "tenant_claim": "org",
        "opa_policy_path": "/p.tar.gz",
    }
    names = {"PATH": "/bin", "HOME": "/root", "HOSTNAME": "pod-1", "KUBERNETES_PORT": "tcp://10.0.0.1:443"}
    assert found(names, **deployment) == {}
    assert found() == {}


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("KEYCLOAK_REALM", {"keycloak_realm": "r"}),
        ("KEYCLOAK_URL", {"keycloak_url": "https://id.example", "identity_provider": "dev-issuer"}),
        ("TENANT_CLAIM", {"tenant_claim": "org"}),
        ("ROLE_MAPPING", {"role_mapping": {"a": "viewer"}}),
        ("KEYCLOAK_REALM", {"keycloak_realm": "r", "oidc_issuer": "https://id.example"}),
        ("CLIENT_ID_AS_AUDIENCE", {**KEYCLOAK, "client_id_as_audience": True, "allowed_audiences": "x"}),
        ("KEYCLOAK_CLIENT_SECRET", {**KEYCLOAK, "keycloak_client_secret": "s"}),
        ("REQUIRE_SCOPES", {"identity_provider": "none", "require_scopes": True}),
        ("OPA_URL", {"opa_url": "http://opa:8181"}),
        ("OPA_URL", {"opa_url": "http://opa:8181", "opa_enabled": False}),
        ("OPA_POLICY_PATH", {"opa_embedded": False, "opa_policy_path": "/p"}),
        ("METERING_TOPIC", {"metering_topic": "t"}),
        ("METERING_TOPIC", {**KAFKA, "metering_enabled": False, "metering_topic": "t"}),
        ("KAFKA_BOOTSTRAP_SERVERS", {**KAFKA, "metering_enabled": False}),
        ("METERING_MAX_BYTES", {"metering_enabled": False, "metering_max_bytes": 2**30}),
        ("KAFKA_USERNAME", {**KAFKA, "kafka_username": "u"}),
        ("REPLICAS", {"replicas": 3, "redis_url": "redis://r/0"}),
        ("REPLICAS", {"replicas": 3, "rate_limit_enabled": False}),
        ("STOA_TENANT_LIMITS", {"stoa_tenant_limits": {}, "rate_limit_enabled": False}),
        ("LOG_LEVEL", {"debug": True, "log_level": "error"}),
        ("BASE_DOMAIN", {"base_domain": "x.example", "public_url": "https://gw.example"}),
    ],
)
def test_settings_without_effect_are_named(variable: str, given: dict[str, Any]) -> None:
    assert found(**given)[variable].startswith("has no effect: ")


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("ALLOWED_AUDIENCES", {"allowed_audiences": "account"}),
        ("PUBLIC_URL", {"public_url": "http://gw.example"}),
        ("PUBLIC_URL", {**KEYCLOAK, "public_url": "http://127.0.0.1:8080"}),
        ("KEYCLOAK_URL", {"keycloak_url": "http://id.example"}),
        ("KAFKA_USERNAME", {**KAFKA, "kafka_security_protocol": "SASL_SSL", "kafka_password": "p"}),
        ("KAFKA_PASSWORD", {**KAFKA, "kafka_security_protocol": "SASL_SSL", "kafka_username": "u"}),
    ],
)
def test_settings_that_contradict_are_named(variable: str, given: dict[str, Any]) -> None:
    assert variable in found(**given)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("KEYCLOCK_URL", "KEYCLOAK_URL"),
        ("KEYCLOAK_CLIENTID", "KEYCLOAK_CLIENT_ID"),
        ("PUBLIC_URI", "PUBLIC_URL"),
        ("REDISURL", "REDIS_URL"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("STOA_CALLERS_LIMITS", "STOA_CALLER_LIMITS"),
        ("STOA_PUBLIC_URL", "PUBLIC_URL"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_settings_that_are_misspelt_name_what_was_meant(variable: str, meant: str) -> None:
    assert found({variable: "x"}) == {variable: f"is no setting; did you mean {meant}?"}


def test_settings_of_our_own_prefix_that_do_not_exist_are_named() -> None:
    assert found({"STOA_FROBNICATE": "1"}) == {"STOA_FROBNICATE": "is no setting"}


@pytest.mark.parametrize(
    "variable",
    [
        "STOA_TOKEN",
        "STOA_SECRET__ACME__ORDERS__TOKEN",
        "STOA_PORT",
        "STOA_SERVICE_HOST",
        "STOA_SERVICE_PORT_HTTP",
        "STOA_PORT_8080_TCP_ADDR",
        "REDIS_PORT",
        "KAFKA_HOME",
        "KEYCLOAK_ADMIN",
        "HOSTNAME",
        "USER",
        "LANG",
    ],
)
def test_settings_of_others_are_left_alone(variable: str) -> None:
    assert found({variable: "x"}) == {}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_settings_of_a_proxy_are_refused_with_a_word(name: str) -> None:
    (message,) = found({name: "http://proxy:3128", "NO_PROXY": "localhost"}).values()
    assert "is not used" in message


def test_settings_of_certificates_that_are_not_there_are_named(tmp_path: Any) -> None:
    assert "is not there" in found({"SSL_CERT_FILE": str(tmp_path / "ca.pem")})["SSL_CERT_FILE"]
    assert found({"SSL_CERT_DIR": str(tmp_path)}) == {}
