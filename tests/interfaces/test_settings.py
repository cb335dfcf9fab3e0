"""Settings from the environment."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from stoa.domain.access.caller_limits import ROLE_LIMITS
from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import RateLimit
from stoa.interfaces.settings import Settings, describe_settings_error


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_nothing_needs_to_be_set() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.url) == ("127.0.0.1", 8080, "http://127.0.0.1:8080")
    assert (settings.base_domain, settings.environment, settings.identity) == (
        "gostoa.dev",
        "dev",
        "dev-issuer",
    )
    assert settings.metering_enabled
    assert settings.rate_limit_enabled
    assert settings.audiences == {"stoa-mcp-gateway", "http://127.0.0.1:8080/mcp"}
    assert (settings.limits.roles, settings.limits.tenants, settings.limits.consumers) == (ROLE_LIMITS, {}, {})
    assert settings.replicas == 1
    assert ".gostoa.dev" in settings.hosts


def test_every_value_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PORT": "9",
        "HOST": "::1",
        "CATALOGUE_PATH": "a.yaml, b ,,",
        "CORS_ORIGINS": "https://a.example,https://b.example",
        "ALLOWED_HOSTS": "gw.example",
        "ALLOWED_AUDIENCES": "x",
        "METERING_ENABLED": "false",
        "RATE_LIMIT_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "SECRETS_DIR": "/s",
        "BASE_DOMAIN": "",
        "CLIENT_REQUESTS": '{"tenants": {"acme": {"sampling": false}}}',
        "STOA_CALLER_LIMITS": '{"viewer": {"requestsPerMinute": 5, "burst": 2}}',
        "STOA_TENANT_LIMITS": '{"acme": {"requestsPerMinute": 6, "fail": "closed"}, "*": {"requestsPerMinute": 7}}',
        "STOA_CONSUMER_LIMITS": '{"app": {"requestsPerMinute": 8}}',
        "REPLICAS": "3",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.url == "http://[::1]:9"
    assert settings.catalogue_path == ("a.yaml", "b")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.hosts[-1] == "gw.example"
    assert settings.audiences == {"x"}
    assert (settings.metering_enabled, settings.rate_limit_enabled) == (False, False)
    assert (settings.log_level, settings.secrets_dir) == ("warning", Path("/s"))
    assert not settings.client_requests.to_domain().of(TenantId("acme")).sampling
    assert settings.base_domain == "gostoa.dev", "an empty variable is no value"
    assert settings.limits.roles == ROLE_LIMITS | {"viewer": RateLimit(requests_per_minute=5, burst=2)}
    assert settings.limits.tenants == {
        "acme": RateLimit(requests_per_minute=6, fail="closed"),
        "*": RateLimit(requests_per_minute=7),
    }
    assert settings.limits.consumers == {"app": RateLimit(requests_per_minute=8)}
    assert settings.replicas == 3


def test_the_address_of_redis_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS", "redis")
    monkeypatch.setenv("REDIS_URL", "redis://user:pass-word@127.0.0.1:1/0")
    settings = Settings()
    assert settings.redis_url is not None
    assert "pass-word" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_the_public_url_is_what_clients_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://gw.example/")
    settings = Settings()
    assert settings.url == "https://gw.example"
    assert "https://gw.example/mcp" in settings.audiences


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_addresses_are_accepted(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HOST", host)
    assert Settings().host == host


@pytest.mark.parametrize("provider", ["dev-issuer", "none"])
@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("TOKEN_INTROSPECTION", "true", "needs KEYCLOAK_CLIENT_SECRET"),
        ("HOST", "0.0.0.0", "HOST=0.0.0.0"),
        ("HOST", "10.0.0.1", "set HOST=127.0.0.1"),
        ("HOST", "::", "HOST=::"),
        ("PORT", "http", "PORT: "),
        ("SESSIONS", "redis", "SESSIONS=redis needs REDIS_URL"),
        ("REDIS_URL", "redis://:pass-word@h:port/0", "REDIS_URL: write it as redis://HOST:PORT/DATABASE"),
        ("REDIS_URL", "http://x:pass-word@h", "REDIS_URL: write it as redis://HOST:PORT/DATABASE"),
        ("PORT", "70000", "PORT: "),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: "),
        ("METERING_ENABLED", "perhaps", "METERING_ENABLED: "),
        ("METERING_DURABILITY", "cloud", "METERING_DURABILITY: "),
        ("ENVIRONMENT", "test", "ENVIRONMENT: "),
        ("CLIENT_REQUESTS", "many", "CLIENT_REQUESTS: write it as JSON"),
        ("CLIENT_REQUESTS", '{"default": {"maxTokens": 0}}', "CLIENT_REQUESTS.default.maxTokens: "),
        ("STOA_CALLER_LIMITS", "many", "STOA_CALLER_LIMITS: write it as JSON"),
        (
            "STOA_CALLER_LIMITS",
            '{"viewer": {"requestsPerMinute": "x"}}',
            "STOA_CALLER_LIMITS.viewer.requestsPerMinute: ",
        ),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, provider: str, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv("IDENTITY_PROVIDER", provider)
    monkeypatch.setenv(variable, value)
    with pytest.raises((ValidationError, SettingsError)) as refused:
        Settings()
    described = describe_settings_error(refused.value)
    assert expected in described
    assert "pass-word" not in described


@pytest.mark.parametrize(
    ("variables", "identity", "url"),
    [
        ({}, "dev-issuer", "https://auth.gostoa.dev"),
        ({"KEYCLOAK_URL": "http://127.0.0.1:9/"}, "keycloak", "http://127.0.0.1:9"),
        ({"ENVIRONMENT": "prod", "BASE_DOMAIN": "corp.example"}, "keycloak", "https://auth.corp.example"),
        ({"ENVIRONMENT": "staging"}, "keycloak", "https://auth.gostoa.dev"),
        ({"IDENTITY_PROVIDER": "none", "KEYCLOAK_URL": "http://kc"}, "none", "http://kc"),
    ],
)
def test_who_vouches_follows_from_what_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], identity: str, url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.identity, settings.provider_url) == (identity, url)
    assert settings.private_networks == (("all",) if settings.environment == "dev" else ("none",))


@pytest.mark.parametrize("provider", ["dev-issuer", "none"])
def test_production_refuses_who_would_vouch_for_anybody(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    monkeypatch.setenv("ENVIRONMENT", "prod")
    monkeypatch.setenv("IDENTITY_PROVIDER", provider)
    with pytest.raises(ValidationError) as wrong:
        Settings()
    assert describe_settings_error(wrong.value).endswith("ENVIRONMENT=prod refuses it")


@pytest.mark.parametrize(
    ("variables", "servers"),
    [
        ({}, ""),
        ({"ENVIRONMENT": "staging"}, "localhost:9092"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2"}, "a:1,b:2"),
        ({"ENVIRONMENT": "staging", "KAFKA_BOOTSTRAP_SERVERS": "none"}, ""),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:1", "METERING_ENABLED": "false"}, ""),
    ],
)
def test_events_are_forwarded_where_a_broker_is_named_or_outside_development(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], servers: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().relay_servers == servers


def test_the_password_of_kafka_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "pass-word")
    settings = Settings()
    assert "pass-word" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_data_dir_that_everyone_may_write_to_is_refused_outside_development(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    tmp_path.chmod(0o777)
    assert Settings().data_dir == tmp_path
    monkeypatch.setenv("ENVIRONMENT", "staging")
    with pytest.raises(
        ValidationError, match=r"DATA_DIR=.*: every user of this machine may write there; run chmod o-w"
    ):
        Settings()
    tmp_path.chmod(0o750)
    assert Settings().data_dir == tmp_path


def test_oidc_issuer_makes_another_provider_vouch_for_callers() -> None:
    settings = Settings(oidc_issuer="https://acme.eu.auth0.example/", environment="prod")
    assert settings.identity == "oidc"
    assert Settings(oidc_issuer="https://issuer.example", identity_provider="oidc").identity == "oidc"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"identity_provider": "oidc"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://a.example", "keycloak_url": "https://b.example"}, "KEYCLOAK_URL"),
        ({"oidc_issuer": "https://a.example", "identity_provider": "dev-issuer"}, "IDENTITY_PROVIDER=dev-issuer"),
        ({"oidc_issuer": "https://a.example", "identity_provider": "keycloak"}, "IDENTITY_PROVIDER=keycloak"),
        ({"oidc_issuer": "a.example"}, "OIDC_ISSUER: write it as https://"),
        ({"oidc_issuer": "https://a.example?x=1"}, "OIDC_ISSUER: write it as https://"),
        ({"oidc_issuer": "https://a.example:http"}, "OIDC_ISSUER: write it as https://"),
        ({"keycloak_internal_url": "http://keycloak:8080"}, "KEYCLOAK_INTERNAL_URL needs KEYCLOAK_URL"),
        ({"client_id_as_audience": True}, "CLIENT_ID_AS_AUDIENCE=true needs ALLOWED_AUDIENCES"),
        ({"tenant_claim": ""}, "TENANT_CLAIM"),
    ],
)
def test_identity_settings_that_contradict_are_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    assert named in describe_settings_error(caught.value)


def test_claims_are_named_by_comma_separated_lists_and_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLES_CLAIM", "https://acme.example/roles, realm_access.roles")
    monkeypatch.setenv("ROLE_MAPPING", '{"Stoa Admins": "tenant-admin"}')
    settings = Settings()
    assert settings.roles_claim == ("https://acme.example/roles", "realm_access.roles")
    assert settings.role_mapping == {"Stoa Admins": "tenant-admin"}
    assert settings.scopes_claim == ("scope", "scp")


@pytest.mark.parametrize(
    ("public_url", "hosts", "origin"),
    [
        ("https://gw.example", ("gw.example",), "https://gw.example"),
        ("https://GW.example:443/", ("gw.example",), "https://gw.example"),
        ("http://gw.example:8080", ("gw.example",), "http://gw.example:8080"),
        ("https://[2001:DB8::1]:8443", ("[2001:db8::1]",), "https://[2001:db8::1]:8443"),
    ],
)
def test_public_url_is_the_only_host_and_origin(public_url: str, hosts: tuple[str, ...], origin: str) -> None:
    settings = Settings(public_url=public_url)
    assert settings.hosts == hosts
    assert settings.origins == (origin,)
    more = Settings(public_url=public_url, allowed_hosts=".b.example", cors_origins="https://app.example")  # type: ignore[arg-type]
    assert more.hosts == (*hosts, ".b.example")
    assert more.origins == (origin, "https://app.example")


@pytest.mark.parametrize(
    "url",
    [
        "https://gw.example/stoa",
        "https://gw.example/mcp",
        "https://gw.example/?",
        "https://gw.example/#x",
        "https://user@gw.example",
        "ftp://gw.example",
        "gw.example",
        "https://",
        "https://gw.example:port",
        "https://g w.example",
    ],
)
def test_public_url_is_refused_where_it_is_no_origin(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PUBLIC_URL", url)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "PUBLIC_URL: write it as https://HOST or https://HOST:PORT" in describe_settings_error(refused.value)


@pytest.mark.parametrize("origin", ["https://a.example", "http://a:1", "http://[::1]:5173", "vscode-webview://0a-b"])
def test_cors_origins_are_taken_as_browsers_write_them(origin: str) -> None:
    assert Settings(cors_origins=origin).origins == (origin,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        ("*", "name each origin"),
        ("null", "name each origin"),
        ("https://*.example", "name each origin"),
        ("a.example", "name each origin"),
        ("https://", "name each origin"),
        ("https://a.example/", "write https://a.example"),
        ("https://a.example/x?y#z", "write https://a.example"),
        ("https://A.example", "write https://a.example"),
        ("HTTPS://a.example", "write https://a.example"),
        ("https://a.example:443", "write https://a.example"),
        ("http://a.example:80", "write http://a.example"),
        ("https://u:p@a.example", "write https://a.example"),
        ("https://ä.example", "name each origin"),
    ],
)
def test_cors_origins_that_no_browser_would_send_are_refused(
    monkeypatch: pytest.MonkeyPatch, origin: str, advice: str
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"https://good.example,{origin}")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert advice in describe_settings_error(refused.value)


@pytest.mark.parametrize("host", ["https://gw.example", "gw.example:80", "gw.example/", "*.gw.example", "::1", "a b"])
def test_allowed_hosts_that_no_client_would_send_are_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", host)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "ALLOWED_HOSTS: " in describe_settings_error(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "::0"])
@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_host_of_all_addresses_needs_a_public_url_outside_dev(
    monkeypatch: pytest.MonkeyPatch, environment: str, host: str
) -> None:
    for name, value in {"ENVIRONMENT": environment, "HOST": host, "KEYCLOAK_URL": "https://kc.example"}.items():
        monkeypatch.setenv(name, value)
    if environment == "dev":
        assert Settings().url in {"http://127.0.0.1:8080", "http://[::1]:8080"}
    else:
        with pytest.raises(ValidationError, match="set PUBLIC_URL"):
            Settings()
    monkeypatch.setenv("PUBLIC_URL", "https://gw.example")
    assert Settings().url == "https://gw.example"


def test_tls_needs_certificate_and_key_and_makes_the_url_https() -> None:
    assert Settings(tls_cert=Path("c"), tls_key=Path("k")).url == "https://127.0.0.1:8080"
    with pytest.raises(ValidationError, match="TLS_CERT and TLS_KEY belong together"):
        Settings(tls_cert=Path("c"))
