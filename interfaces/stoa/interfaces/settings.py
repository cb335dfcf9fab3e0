"""Everything that can be configured from the environment, read once by `bootstrap`."""

import os
import stat
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from stoa.application.manifests.client_requests import ClientRequestsManifest
from stoa.application.manifests.parse import RateLimitManifest
from stoa.domain.access.caller_limits import ROLE_LIMITS, CallerLimits, StrangerLimits
from stoa.domain.access.rate_limit import RateLimit
from stoa.interfaces.http.guard import LOOPBACK_HOSTS
from stoa.interfaces.http.names import check_host, check_origin, check_public_url, is_any_address, is_web_url, origin_of

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """One field per environment variable, in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    base_domain: str = "gostoa.dev"
    """Host names below it are served, unless `public_url` is set."""
    environment: Literal["dev", "staging", "prod"] = "dev"
    """`prod` refuses everything that is meant for development."""
    debug: bool = False
    """Log more, for people."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    max_connections: int = Field(default=8192, ge=1)
    """Connections that one worker has open at the same time; fewer where the process may not open so many files."""
    max_connections_per_address: int = Field(default=4096, ge=1)
    """Of them, those from one address, unless it is one of `trusted_proxies`."""
    keep_alive_seconds: int = Field(default=75, ge=1, le=3600)
    """How long a connection may wait for its next request; longer than what load balancers in front keep it for."""
    head_timeout_seconds: float = Field(default=10.0, ge=1, le=3600)
    """How long a request's head may take."""
    body_timeout_seconds: float = Field(default=10.0, ge=1, le=3600)
    """How long a request's body may take, unless it comes at 4 KiB/s."""
    write_timeout_seconds: float = Field(default=20.0, ge=1, le=3600)
    """How long a client may take to read what waits for it, unless it reads at 4 KiB/s."""
    shutdown_drain_seconds: float = Field(default=5.0, ge=0, le=3600)
    """After SIGTERM, how long requests are served while `/ready` says that the gateway is not: in this time load
    balancers learn of it. SIGINT does not wait."""
    shutdown_grace_seconds: float = Field(default=60.0, ge=0, le=3600)
    """How long calls may take after that, each no longer than its tool's timeout; what is left is told that the gateway
    shuts down."""
    tls_cert: Path | None = None
    """PEM file with the server's certificate and its chain; with `tls_key` the gateway serves HTTPS. Read again when
    it changes."""
    tls_key: Path | None = None
    """PEM file with the certificate's key, without a password."""
    public_url: str = ""
    """URL that clients reach the gateway by, without a path; empty: http://HOST:PORT, or https: with `tls_cert`."""
    allowed_hosts: CommaSeparated = ()
    """Further host names to serve, comma-separated; a leading dot allows subdomains, `*` any name."""
    cors_origins: CommaSeparated = ()
    """Web origins that may call the gateway, comma-separated."""
    identity_provider: Literal["keycloak", "oidc", "dev-issuer", "none", ""] = ""
    """Who vouches for callers. `none`: everybody is an anonymous viewer; for loopback only. Empty: the provider at
    OIDC_ISSUER where that is set, Keycloak where KEYCLOAK_URL is set or ENVIRONMENT is not dev, else the development
    issuer."""
    oidc_issuer: str = ""
    """Issuer identifier of another OpenID provider than Keycloak, character for character as its tokens name it."""
    oidc_scope_prefix: str = ""
    """What that provider puts before `stoa:read`, `stoa:write` and `stoa:admin`, such as `api://gateway/`."""
    keycloak_url: str = ""
    """As clients reach it, and as it calls itself. Empty: https://auth.BASE_DOMAIN."""
    keycloak_internal_url: str = ""
    """As this process reaches Keycloak where that differs from `keycloak_url`."""
    keycloak_realm: str = "stoa"
    keycloak_client_id: str = "stoa-mcp-gateway"
    """The gateway's own client; its roles count beside those of the realm."""
    keycloak_client_secret: SecretStr | None = None
    token_introspection: bool = False
    """Ask Keycloak, at most once a minute for each token, whether it was revoked; needs KEYCLOAK_CLIENT_SECRET."""
    tenant_claim: str = Field(default="tenant_id", min_length=1)
    """Claim that names the caller's tenant. Names of claims may be paths: `org.name` is the claim of that name, else
    `name` in the object `org`."""
    roles_claim: CommaSeparated = ()
    """Claims that name the caller's roles or groups, comma-separated; empty: where Keycloak keeps them, and `roles`."""
    role_mapping: dict[str, str] = {}
    """Roles by the provider's names for them, as JSON; with it no other name counts."""
    scopes_claim: CommaSeparated = ("scope", "scp")
    """Claims with the token's scopes, comma-separated."""
    client_id_as_audience: bool = False
    """An access token of Amazon Cognito's, which has no `aud`, is for the client that its `client_id` names; needs
    ALLOWED_AUDIENCES."""
    require_scopes: bool = False
    """Refuse every call whose token has no `stoa:*` scope; false: it may do what its caller's roles give."""
    opa_enabled: bool = True
    """Decide by a Rego policy; false: by the same default rules in Python."""
    opa_embedded: bool = True
    """In this process; false: ask the server at OPA_URL."""
    opa_url: str = "http://127.0.0.1:8181"
    opa_policy_path: Path | None = None
    """Bundle that `opa build -t wasm` made; None: the one that ships. Watched for changes."""
    outbound_networks: CommaSeparated = ()
    """Private networks that may be connected to, as CIDR blocks, `all` or `none`; empty: all in dev, none elsewhere."""
    outbound_resolver: Literal["dns", "system"] = "dns"
    """How host names are looked up: `dns` asks the servers of /etc/resolv.conf after /etc/hosts; `system` asks the
    operating system, for names that only nsswitch.conf knows."""
    allowed_audiences: CommaSeparated = ()
    """Accepted `aud` values; empty: the gateway's own URL and `stoa-mcp-gateway`."""
    catalogue_path: CommaSeparated = ()
    """Manifest files and folders, comma-separated; `TENANT=PATH`: the tenant's team writes there, for itself alone."""
    lower_access: CommaSeparated = ()
    """Tenants whose tags and annotations may ask for less than their method, comma-separated."""
    data_dir: Path = Path("var")
    """Outbox, development keys and, without `redis_url`, tasks; on a local disk."""
    sessions: Literal["memory", "redis", "none"] = "memory"
    """Where sessions of MCP's handshake era are kept. `redis`: shared by all replicas and workers, and there after a
    restart. `none`: every request stands for itself, as it must where several processes answer and share nothing."""
    redis_url: SecretStr | None = None
    """What replicas share: `redis://[USER:PASSWORD@]HOST:PORT/DATABASE`, or `rediss:` for TLS. Tasks are kept there,
    rate limits counted, and what programs announce reaches watchers on every replica; sessions too where `sessions`
    says so."""
    replicas: int = Field(default=1, ge=1, le=10_000)
    """Processes that answer together, workers counted. Without `redis_url` each counts by its share of every limit;
    with it this matters only as long as Redis was never reached, afterwards they count themselves."""
    mcp_profile: Literal["portable", "faithful"] = "portable"
    """How MCP lists input schemas where the client's URL does not say: as every client understands them, or as they
    were declared."""
    state_secret: SecretStr | None = None
    """Seals what clients carry between the rounds of a call; the same on all replicas. None: made in `data_dir`."""
    secrets_dir: Path | None = None
    """Folder with the tools' secrets, laid out as Kubernetes mounts them: TENANT/NAME/KEY."""
    metering_enabled: bool = True
    metering_durability: Literal["process", "fsync"] = "process"
    """What an answered call's event survives: the death of the process, or a power loss too."""
    metering_max_bytes: int = Field(default=1024**3, ge=16 * 1024**2)
    """What the outbox may take of the disk, an eighth of it for refused calls. Then events that were forwarded are
    deleted; when there are none, calls are refused, and refused calls are only counted."""
    metering_topic: str = Field(default="stoa.metering.events", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    metering_envelope: Literal["event", "cloudevents"] = "event"
    """Form of the records in Kafka."""
    kafka_bootstrap_servers: str = ""
    """Where metering events are forwarded to, HOST:PORT, comma-separated; `none`: nowhere. Empty: nowhere in dev,
    localhost:9092 elsewhere."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_username: str = ""
    kafka_password: SecretStr | None = None
    rate_limit_enabled: bool = True
    stoa_caller_limits: dict[str, RateLimitManifest] = {}
    """Limits by role that replace the built-in ones, as JSON."""
    stoa_tenant_limits: dict[str, RateLimitManifest] = {}
    """Limits of all callers of a tenant together, as JSON; `*` for each tenant that is not named."""
    stoa_consumer_limits: dict[str, RateLimitManifest] = {}
    """Limits by consumer (`X-Consumer-ID`) within a tenant, as JSON; `*` for each that is not named."""
    stoa_stranger_limits: dict[Literal["address", "all"], RateLimitManifest] = {}
    """Limits of requests that no valid token comes with, from one network address and from all together, as JSON; each
    process counts for itself."""
    trusted_proxies: CommaSeparated = ()
    """Networks of the proxies in front of the gateway, as CIDR blocks, comma-separated: from them X-Forwarded-For is
    believed. Empty: every connection is its client's own."""
    prices_path: Path | None = None
    """Manifest of kind PriceList; None: the one that ships."""
    budgets_path: Path | None = None
    """Manifest of kind Budgets; None: nobody has a budget."""
    client_requests: ClientRequestsManifest = ClientRequestsManifest()
    """What calls may ask their clients, by tenant, as JSON."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @field_validator(
        "allowed_hosts",
        "cors_origins",
        "allowed_audiences",
        "catalogue_path",
        "lower_access",
        "outbound_networks",
        "roles_claim",
        "scopes_claim",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value:
            check_public_url(value)
        return value

    @field_validator("oidc_issuer", "keycloak_internal_url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        if value and (not is_web_url(value) or not value.isprintable() or any(mark in value for mark in "?#@")):
            raise ValueError("write it as https://HOST/PATH, without a query")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check_origin(value)
        return values

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check_host(value)
        return values

    @field_validator("state_secret")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("32 characters or more, chosen at random")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or _is_redis_url(value.get_secret_value()):
            return value
        raise ValueError("write it as redis://HOST:PORT/DATABASE, or rediss:// for TLS")

    @model_validator(mode="after")
    def _redis_is_named(self) -> "Settings":
        if self.sessions == "redis" and self.redis_url is None:
            raise ValueError("SESSIONS=redis needs REDIS_URL; set it to redis://HOST:PORT/DATABASE")
        return self

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _development_stays_local(self) -> "Settings":
        if self.identity in {"keycloak", "oidc"}:
            return self
        if self.environment == "prod":
            raise ValueError(f"IDENTITY_PROVIDER={self.identity} is for development and ENVIRONMENT=prod refuses it")
        if f"[{self.host}]" not in LOOPBACK_HOSTS and self.host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"HOST={self.host}: with IDENTITY_PROVIDER={self.identity} the gateway listens on loopback only; "
                "set HOST=127.0.0.1, or KEYCLOAK_URL"
            )
        return self

    @model_validator(mode="after")
    def _one_provider_is_named(self) -> "Settings":
        if self.identity == "oidc" and not self.oidc_issuer:
            raise ValueError("IDENTITY_PROVIDER=oidc needs OIDC_ISSUER")
        if self.oidc_issuer and (self.keycloak_url or self.identity != "oidc"):
            other = "KEYCLOAK_URL" if self.keycloak_url else f"IDENTITY_PROVIDER={self.identity}"
            raise ValueError(f"OIDC_ISSUER and {other} name two identity providers; keep one of them")
        if self.keycloak_internal_url and not self.keycloak_url:
            raise ValueError("KEYCLOAK_INTERNAL_URL needs KEYCLOAK_URL, as clients reach Keycloak")
        if self.client_id_as_audience and not self.allowed_audiences:
            raise ValueError("CLIENT_ID_AS_AUDIENCE=true needs ALLOWED_AUDIENCES with the ids of the clients to accept")
        return self

    @model_validator(mode="after")
    def _data_dir_is_protected(self) -> "Settings":
        """Keys, secrets and metering events must not be replaced by other users of the machine."""
        if os.name == "posix" and self.environment != "dev" and _is_world_writable(self.data_dir):
            raise ValueError(
                f"DATA_DIR={self.data_dir}: every user of this machine may write there; run chmod o-w on it, or "
                "choose another folder"
            )
        return self

    @model_validator(mode="after")
    def _introspection_needs_a_client(self) -> "Settings":
        if self.token_introspection and self.keycloak_client_secret is None:
            raise ValueError("TOKEN_INTROSPECTION=true needs KEYCLOAK_CLIENT_SECRET")
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS_CERT and TLS_KEY belong together; set both, or neither")
        return self

    @model_validator(mode="after")
    def _clients_can_name_it(self) -> "Settings":
        if is_any_address(self.host) and not self.public_url and self.environment != "dev":
            raise ValueError(
                f"HOST={self.host} is no address that clients can be told, or that only they would use; set "
                "PUBLIC_URL to the URL that they reach the gateway by"
            )
        return self

    @property
    def identity(self) -> Literal["keycloak", "oidc", "dev-issuer", "none"]:
        """Who vouches for callers."""
        if self.identity_provider:
            return self.identity_provider
        if self.oidc_issuer:
            return "oidc"
        return "keycloak" if self.keycloak_url or self.environment != "dev" else "dev-issuer"

    @property
    def provider_url(self) -> str:
        """Keycloak's."""
        return self.keycloak_url.rstrip("/") or f"https://auth.{self.base_domain}"

    @property
    def relay_servers(self) -> str:
        """Brokers; empty: metering events are not forwarded."""
        servers = self.kafka_bootstrap_servers or ("none" if self.environment == "dev" else "localhost:9092")
        return servers if self.metering_enabled and servers != "none" else ""

    @property
    def private_networks(self) -> tuple[str, ...]:
        """As `outbound_networks`, with the default."""
        return self.outbound_networks or ("all" if self.environment == "dev" else "none",)

    @property
    def url(self) -> str:
        if self.public_url:
            return self.public_url.rstrip("/")
        own = self.host
        if is_any_address(own):
            own = "::1" if ":" in own else "127.0.0.1"
        host = f"[{own}]" if ":" in own else own
        return f"{'http' if self.tls_cert is None else 'https'}://{host}:{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names to serve: where PUBLIC_URL names the gateway, that name and ALLOWED_HOSTS only."""
        if self.public_url:
            host = urlsplit(self.public_url).hostname or ""
            return (f"[{host}]" if ":" in host else host, *self.allowed_hosts)
        return (*LOOPBACK_HOSTS, f".{self.base_domain}", *self.allowed_hosts)

    @property
    def origins(self) -> tuple[str, ...]:
        """Web origins that may call, PUBLIC_URL's own among them."""
        if not self.public_url:
            return self.cors_origins
        return (origin_of(self.public_url), *self.cors_origins)

    @property
    def audiences(self) -> frozenset[str]:
        return frozenset(self.allowed_audiences or (self.keycloak_client_id, f"{self.url}/mcp"))

    @property
    def stranger_limits(self) -> StrangerLimits | None:
        """None: nothing is limited."""
        if not self.rate_limit_enabled:
            return None
        given, usual = self.stoa_stranger_limits, StrangerLimits()
        address, everyone = given.get("address"), given.get("all")
        return StrangerLimits(
            usual.address if address is None else address.to_domain(),
            usual.everyone if everyone is None else everyone.to_domain(),
        )

    @property
    def limits(self) -> CallerLimits:
        return CallerLimits(
            roles=ROLE_LIMITS | _limits(self.stoa_caller_limits),
            tenants=_limits(self.stoa_tenant_limits),
            consumers=_limits(self.stoa_consumer_limits),
        )


def _is_world_writable(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & stat.S_IWOTH)
    except OSError:  # it is made, with the right mode, when something is written
        return False


def _limits(written: dict[str, RateLimitManifest]) -> dict[str, RateLimit]:
    return {name: limit.to_domain() for name, limit in written.items()}


def _is_redis_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # of a port that is none
        return False


def describe_settings_error(caught: ValidationError | SettingsError) -> str:
    """What is wrong, by environment variable, without the offending values."""
    if isinstance(caught, SettingsError):  # its text names the field, and nothing else does
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(caught)), "")
        return f"{field.upper() or 'a variable'}: write it as JSON"
    parts: list[str] = []
    for problem in caught.errors(include_url=False, include_input=False):
        message = problem["msg"].removeprefix("Value error, ")
        variable, *inner = (*map(str, problem["loc"]), "")
        where = ".".join([variable.upper(), *inner]).rstrip(".")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts)
