"""Settings from the environment, read once by `bootstrap`."""

import os
import re
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

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The settings: one field per environment variable, whose name is the field's in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    # Listening
    host: str = "127.0.0.1"
    """Address to listen on; `::` is all addresses, including IPv4."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    public_url: str = ""
    """URL that clients reach the gateway by, without a path; empty: `http://HOST:PORT`, or `https:` with TLS_CERT.
    Outside dev it is needed where HOST is all addresses. Once it is set, the gateway serves only its host and origin,
    ALLOWED_HOSTS and CORS_ORIGINS. See docs/operations.md."""
    allowed_hosts: CommaSeparated = ()
    """Further host names to serve; a leading dot allows subdomains, `*` any name."""
    cors_origins: CommaSeparated = ()
    """Web origins that may call the gateway."""
    base_domain: str = "gostoa.dev"
    """Host names below it are served, unless PUBLIC_URL is set."""
    tls_cert: Path | None = None
    """PEM file with the server's certificate and its chain. With TLS_KEY the gateway serves HTTPS; both are read again
    when they change."""
    tls_key: Path | None = None
    """PEM file with the certificate's key, without a password."""
    trusted_proxies: CommaSeparated = ()
    """Networks of the proxies in front of the gateway, as CIDR blocks: X-Forwarded-For is believed from these alone.
    Empty: every connection is its client's own. Set it behind a proxy; otherwise all unauthenticated requests share
    one address and its limit."""

    # Connections
    keep_alive_seconds: int = Field(default=75, ge=1, le=3600)
    """Idle timeout of a connection between two requests; set it longer than that of load balancers in front. See
    docs/bounds.md."""
    head_timeout_seconds: float = Field(default=10.0, ge=1, le=3600)
    """Timeout of a request's head."""
    body_timeout_seconds: float = Field(default=10.0, ge=1, le=3600)
    """Timeout of a request's body, unless it arrives at 4 KiB/s or more."""
    write_timeout_seconds: float = Field(default=20.0, ge=1, le=3600)
    """Timeout of a client that does not read its pending bytes, unless it reads at 4 KiB/s or more."""
    max_connections: int = Field(default=8192, ge=1)
    """Concurrent connections of one worker; fewer if the process may not open so many files."""
    max_connections_per_address: int = Field(default=4096, ge=1)
    """Connections among them from one address, unless it is one of TRUSTED_PROXIES."""
    shutdown_drain_seconds: float = Field(default=5.0, ge=0, le=3600)
    """Time after SIGTERM in which requests are served while `/ready` reports that the gateway is not ready, so that
    load balancers notice. SIGINT does not wait. See docs/operations.md."""
    shutdown_grace_seconds: float = Field(default=60.0, ge=0, le=3600)
    """Time for calls to end after that, each within its tool's timeout; the remaining ones are answered that the
    gateway shuts down."""

    # Environment and data
    environment: Literal["dev", "staging", "prod"] = "dev"
    """Deployment stage; `prod` refuses everything that is meant for development."""
    data_dir: Path = Path("var")
    """Metering events, development keys and, without REDIS_URL, tasks; on a local disk. Its files are for the
    gateway's user alone (mode 0600); outside `dev` a folder that every user may write to is refused."""
    redis_url: SecretStr | None = None
    """Redis for the state that replicas share: rate limits, tasks, spending, the rest of long answers, announced
    updates of resources, and sessions with SESSIONS=redis. Written as `redis://[USER:PASSWORD@]HOST:PORT/DATABASE`, or
    `rediss:` for TLS; Redis 6.2 or newer, no cluster."""
    replicas: int = Field(default=1, ge=1, le=10_000)
    """Number of processes that serve together, including workers. Without REDIS_URL each applies its share of every
    limit; with it this matters only until Redis was first reached."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below this level are left out."""
    log_format: Literal["json", "console"] = "json"
    """Format of log lines; `console` is for people."""
    debug: bool = False
    """Logs more, in the format for people."""

    # Catalogue
    catalogue_path: CommaSeparated = ()
    """Manifest files and folders. `PATH` is owned by the platform; `TENANT=PATH` by that tenant, for its own operations
    alone. See docs/manifests.md."""
    lower_access: CommaSeparated = ()
    """Tenants whose tags and annotations may ask for less access than the method needs."""
    secrets_dir: Path | None = None
    """Folder with the tools' secrets, laid out as Kubernetes mounts them: TENANT/NAME/KEY."""
    outbound_networks: CommaSeparated = ()
    """Private networks that tools, API descriptions and identity providers may be on, as CIDR blocks, `all` or `none`;
    empty: all in dev, none elsewhere."""
    outbound_resolver: Literal["dns", "system"] = "dns"
    """Resolver of host names: `dns` asks the servers of /etc/resolv.conf after /etc/hosts; `system` asks the operating
    system, for names that only nsswitch.conf knows."""

    # Kubernetes
    k8s_watcher_enabled: bool = False
    """Follow the manifests of a cluster, in addition to CATALOGUE_PATH. See docs/kubernetes.md."""
    kubeconfig_path: Path | None = None
    """Kubeconfig of the cluster, at its current context; empty: the service account of this pod."""
    k8s_watch_namespace: CommaSeparated = ()
    """Namespaces whose manifests are followed; empty: all. Roles in these namespaces then suffice."""
    k8s_label_selector: str = ""
    """Label selector of the manifests to follow, such as `gostoa.dev/gateway=public`; empty: all."""
    k8s_namespace_selector: str = ""
    """Label selector of the namespaces that may be tenants; empty: all."""
    k8s_secrets_enabled: bool = False
    """Read the Secrets that manifests name, each of its manifest's namespace; needs the right to watch them."""
    k8s_lease_namespace: str = ""
    """Namespace of the Lease by which one replica is elected to write status; empty: that of this pod, or `default`."""
    k8s_lease_name: str = "stoa-mcp-gateway"
    """Name of that Lease, the same for all replicas of one gateway."""

    # MCP
    sessions: Literal["memory", "redis", "none"] = "memory"
    """Store of the sessions of MCP's handshake era. `memory`: in the process; the agreements of the handshake come back
    after a restart. `redis`: shared by all workers and replicas. `none` (also `memory` with several workers): each
    request is independent."""
    mcp_profile: Literal["portable", "faithful"] = "portable"
    """Default form of input schemas in MCP lists, for clients whose URL does not choose: as every client understands
    them, or as declared. See docs/client-compatibility.md."""
    tool_tokens: int | None = Field(default=None, ge=1)
    """Tokens that name, description and input schema of a tool may have in lists; larger ones are shown in less, and
    checked in full. Needs the extra `tokens`."""
    catalogue_tokens: int | None = Field(default=None, ge=1)
    """Tokens of all tools that a tenant sees, together. Needs the extra `tokens`."""
    tokenizer: Literal["cl100k_base", "o200k_base"] = "cl100k_base"
    """Encoding that counts them, and those of `tokenBudget` in manifests."""
    state_secret: SecretStr | None = None
    """Seals the state that clients carry between the rounds of a call; at least 32 characters, the same on all
    replicas. Empty: made in DATA_DIR."""
    client_requests: ClientRequestsManifest = ClientRequestsManifest()
    """Client requests that calls may make, by tenant. See docs/asking-clients.md."""

    # Identity
    identity_provider: Literal["keycloak", "oidc", "dev-issuer", "none", ""] = ""
    """Service that authenticates callers. `none`: every caller is an anonymous viewer; for loopback only. Empty: `oidc`
    with OIDC_ISSUER, `keycloak` with KEYCLOAK_URL or outside dev, else `dev-issuer`."""
    keycloak_url: str = ""
    """Keycloak's URL for clients, which is also in its issuer identifier. Empty: `https://auth.BASE_DOMAIN`."""
    keycloak_internal_url: str = ""
    """Keycloak's URL for this process, if it differs from KEYCLOAK_URL."""
    keycloak_realm: str = "stoa"
    """Realm whose tokens are accepted."""
    keycloak_client_id: str = "stoa-mcp-gateway"
    """The gateway's own client; its roles count in addition to those of the realm."""
    keycloak_client_secret: SecretStr | None = None
    """Secret of that client, for TOKEN_INTROSPECTION."""
    token_introspection: bool = False
    """Ask the provider, at most once a minute for each token, whether it was revoked; needs KEYCLOAK_CLIENT_SECRET."""
    oidc_issuer: str = ""
    """Issuer identifier of another OpenID provider than Keycloak, character for character as its tokens name it."""
    oidc_scope_prefix: str = ""
    """Prefix of `stoa:read`, `stoa:write` and `stoa:admin` at that provider, such as `api://gateway/`."""
    allowed_audiences: CommaSeparated = ()
    """Accepted `aud` values of tokens; empty: KEYCLOAK_CLIENT_ID and `PUBLIC_URL/mcp`."""
    client_id_as_audience: bool = False
    """Use `client_id` as the audience of Amazon Cognito's access tokens, which have no `aud`; needs
    ALLOWED_AUDIENCES."""
    tenant_claim: str = Field(default="tenant_id", min_length=1)
    """Claim that names the caller's tenant; without it the group `/tenants/NAME`. Names of claims may be paths:
    `org.name` is the claim of that name, else `name` in the object `org`."""
    roles_claim: CommaSeparated = ()
    """Claims with the caller's roles or groups, such as `groups` or `realm_access.roles`; empty: Keycloak's claims, and
    `roles`."""
    role_mapping: dict[str, str] = {}
    """Roles by the provider's names for them; other names are then ignored."""
    scopes_claim: CommaSeparated = ("scope", "scp")
    """Claims with the token's scopes."""
    require_scopes: bool = False
    """Refuse every call whose token has no `stoa:*` scope; false: such a token may do everything that its caller's
    roles allow."""

    # Policy
    opa_enabled: bool = True
    """Decide by a Rego policy; false: by the same default rules in Python. See docs/policy.md."""
    opa_embedded: bool = True
    """Evaluate the policy in this process; false: ask the server at OPA_URL."""
    opa_url: str = "http://127.0.0.1:8181"
    """URL of the OPA server."""
    opa_policy_path: Path | None = None
    """Bundle that `opa build -t wasm` made; empty: the one that ships. Watched for changes."""

    # Limits
    rate_limit_enabled: bool = True
    """Count and refuse calls beyond the limits."""
    stoa_caller_limits: dict[str, RateLimitManifest] = {}
    """Limits by role that replace the built-in ones: `{"viewer": {"requestsPerMinute": 60, "burst": 10}}`. With
    `"fail": "closed"` calls are refused while Redis is away; otherwise each replica admits its share."""
    stoa_tenant_limits: dict[str, RateLimitManifest] = {}
    """Limits of all callers of a tenant together, by its name; `*` for each tenant that is not named."""
    stoa_consumer_limits: dict[str, RateLimitManifest] = {}
    """Limits by consumer (`X-Consumer-ID`) within a tenant; `*` for each that is not named."""
    stoa_stranger_limits: dict[Literal["address", "all"], RateLimitManifest] = {}
    """Limits of requests without a valid token, from one network address and from all together; each process counts
    for itself. Empty: `{"address": {"requestsPerMinute": 600, "burst": 200}, "all": {"requestsPerMinute": 6000,
    "burst": 1000}}`"""

    # Metering
    metering_enabled: bool = True
    """Record an event for every finished call."""
    metering_durability: Literal["process", "fsync"] = "process"
    """Durability of an answered call's event: it survives the death of the process, with `fsync` a power loss too."""
    metering_max_bytes: int = Field(default=1024**3, ge=16 * 1024**2)
    """Disk for metering events, an eighth of it for refused calls. When it is full, forwarded events are deleted; if
    there are none, calls are refused, and refused calls are only counted. See docs/usage.md."""
    metering_topic: str = Field(default="stoa.metering.events", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Kafka topic of the events, which must exist."""
    metering_envelope: Literal["event", "cloudevents"] = "event"
    """Form of the records in Kafka: the event, or a CloudEvent 1.0 around it."""
    prices_path: Path | None = None
    """Manifest of kind PriceList; empty: the one that ships. See docs/prices-and-budgets.md."""
    budgets_path: Path | None = None
    """Manifest of kind Budgets: monthly budgets of tenants and their applications; empty: no budgets."""
    kafka_bootstrap_servers: str = ""
    """Brokers that metering events are forwarded to, `HOST:PORT`, comma-separated; `none`: no forwarding. Empty: none
    in dev, `localhost:9092` elsewhere. Calls do not depend on them."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Security protocol of the connections to the brokers."""
    kafka_ca_file: Path | None = None
    """Certificate authorities of the brokers, PEM; empty: those of the system."""
    kafka_certificate_file: Path | None = None
    """Certificate chain that is shown to the brokers (mTLS), PEM; empty: none."""
    kafka_key_file: Path | None = None
    """Private key of KAFKA_CERTIFICATE_FILE, PEM without a password; empty: it is in the same file."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    """SASL mechanism by which KAFKA_USERNAME and KAFKA_PASSWORD are sent; with OAUTHBEARER an access token is sent."""
    kafka_username: str = ""
    """User for SASL; with OAUTHBEARER the client id (RFC 6749 section 4.4)."""
    kafka_password: SecretStr | None = None
    """Password for SASL; with OAUTHBEARER the client secret."""
    kafka_oauth_token_url: str = ""
    """Token endpoint that OAUTHBEARER needs."""
    kafka_oauth_scopes: CommaSeparated = ()
    """Scopes that are asked for there; empty: those that the server gives by default."""

    # Traces
    otel_exporter_otlp_endpoint: str = ""
    """Collector that the spans of calls are sent to, by OTLP over HTTP in JSON: a URL below which `/v1/traces` is;
    empty: none are sent. Calls do not depend on it."""
    otel_exporter_otlp_headers: SecretStr | None = None
    """Headers for the collector, `NAME=VALUE,NAME=VALUE`, percent-encoded."""
    otel_service_name: str = "stoa-mcp-gateway"
    """`service.name` of the spans."""

    @field_validator(
        "allowed_hosts",
        "cors_origins",
        "allowed_audiences",
        "catalogue_path",
        "k8s_watch_namespace",
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

    @field_validator("k8s_watch_namespace")
    @classmethod
    def _are_namespaces(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _NAMESPACE.fullmatch(value):
                raise ValueError(f"{value[:80]!r} is no namespace; write names such as tenant-acme,tenant-globex")
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
    def _kafka_login_is_complete(self) -> "Settings":
        is_oauth = self.kafka_sasl_mechanism == "OAUTHBEARER"
        if is_oauth and not is_web_url(self.kafka_oauth_token_url):
            raise ValueError("KAFKA_SASL_MECHANISM=OAUTHBEARER needs KAFKA_OAUTH_TOKEN_URL, an http(s) URL")
        if self.kafka_oauth_token_url and not is_oauth:
            raise ValueError("KAFKA_OAUTH_TOKEN_URL is for KAFKA_SASL_MECHANISM=OAUTHBEARER")
        if self.kafka_key_file is not None and self.kafka_certificate_file is None:
            raise ValueError("KAFKA_KEY_FILE needs KAFKA_CERTIFICATE_FILE")
        return self

    @model_validator(mode="after")
    def _collector_is_a_url(self) -> "Settings":
        if self.otel_exporter_otlp_endpoint and not is_web_url(self.otel_exporter_otlp_endpoint):
            raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT: write an http(s) URL, such as http://localhost:4318")
        return self

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
        """Refuses a DATA_DIR in which other users of the machine could replace keys, secrets and metering events."""
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
        """The service that authenticates callers, after defaults."""
        if self.identity_provider:
            return self.identity_provider
        if self.oidc_issuer:
            return "oidc"
        return "keycloak" if self.keycloak_url or self.environment != "dev" else "dev-issuer"

    @property
    def provider_url(self) -> str:
        """Keycloak's URL, after defaults."""
        return self.keycloak_url.rstrip("/") or f"https://auth.{self.base_domain}"

    @property
    def relay_servers(self) -> str:
        """Kafka brokers; empty: metering events are not forwarded."""
        servers = self.kafka_bootstrap_servers or ("none" if self.environment == "dev" else "localhost:9092")
        return servers if self.metering_enabled and servers != "none" else ""

    @property
    def private_networks(self) -> tuple[str, ...]:
        """The networks of `outbound_networks`, after defaults."""
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
        """Host names to serve: with PUBLIC_URL only its host and ALLOWED_HOSTS."""
        if self.public_url:
            host = urlsplit(self.public_url).hostname or ""
            return (f"[{host}]" if ":" in host else host, *self.allowed_hosts)
        return (*LOOPBACK_HOSTS, f".{self.base_domain}", *self.allowed_hosts)

    @property
    def origins(self) -> tuple[str, ...]:
        """Web origins that may call, including that of PUBLIC_URL."""
        if not self.public_url:
            return self.cors_origins
        return (origin_of(self.public_url), *self.cors_origins)

    @property
    def audiences(self) -> frozenset[str]:
        return frozenset(self.allowed_audiences or (self.keycloak_client_id, f"{self.url}/mcp"))

    @property
    def stranger_limits(self) -> StrangerLimits | None:
        """The limits of requests without a valid token; None: no limits."""
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
    """Describes invalid settings by environment variable, without the offending values."""
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
