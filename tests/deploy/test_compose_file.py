"""The compose stack as it is written. tests/live/deploy/test_compose.py starts the same servers as it says."""

from typing import Any

import pytest
import yaml
from tests.docs.markdown import ROOT

from stoa.interfaces.settings import Settings
from stoa.interfaces.settings_findings import settings_findings

STACK: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
ONE_SHOT = {"demo-catalogue", "kafka-topics"}


@pytest.mark.parametrize("name", SERVICES)
def test_compose_mounts_what_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source = volume.partition(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists()
        elif not source.startswith("$"):
            assert source in STACK["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_compose_waits_for_services_that_can_say_when(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert wait["condition"] == "service_completed_successfully"
            assert other in ONE_SHOT


def test_compose_services_have_health_checks() -> None:
    """The gateway's is the image's."""
    without = {name for name, service in SERVICES.items() if "test" not in service.get("healthcheck", {})}
    assert without == {"gateway", *ONE_SHOT}
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_compose_publishes_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        _, _, tag = service["image"].rpartition(":")
        assert any(letter.isdigit() for letter in tag), name


def test_compose_gateway_settings_are_valid_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: str(value) for name, value in SERVICES["gateway"]["environment"].items()}
    given |= {"STATE_SECRET": "x" * 32, "HOST": "0.0.0.0", "DATA_DIR": "/nowhere"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.relay_servers == "kafka:9092"
    findings = {finding.where: finding.message for finding in settings_findings(settings, given)}
    # A stack on one machine, where the realm puts the client's id into every token.
    assert set(findings) <= {"PUBLIC_URL", "ALLOWED_AUDIENCES"}, findings


def test_compose_addresses_name_services_and_their_ports() -> None:
    prometheus = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yaml").read_text(encoding="utf-8"))
    targets = [
        target for job in prometheus["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    ]
    assert {target.partition(":")[0] for target in targets} <= set(SERVICES)
    assert prometheus["rule_files"] == ["alerts.yaml"]
    assert any(volume.endswith("/etc/prometheus/alerts.yaml:ro") for volume in SERVICES["prometheus"]["volumes"])
    grafana = ROOT / "deploy" / "compose" / "grafana"
    [source] = yaml.safe_load((grafana / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((grafana / "dashboards" / "stoa.yaml").read_text(encoding="utf-8"))["providers"]
    folder = provider["options"]["path"]
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].startswith(folder)
    assert any(volume.split(":")[1].startswith(folder) for volume in SERVICES["grafana"]["volumes"])


def test_compose_traces_go_to_jaeger_and_grafana_reads_them_there() -> None:
    jaeger = yaml.safe_load((ROOT / "deploy" / "compose" / "jaeger.yaml").read_text(encoding="utf-8"))
    port = jaeger["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    assert SERVICES["gateway"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://jaeger:{port}"
    datasources = ROOT / "deploy" / "compose" / "grafana" / "datasources"
    [source] = yaml.safe_load((datasources / "jaeger.yaml").read_text(encoding="utf-8"))["datasources"]
    query_port = jaeger["extensions"]["jaeger_query"]["http"]["endpoint"].rpartition(":")[2]
    assert source["url"] == f"http://jaeger:{query_port}"
    assert SERVICES["jaeger"]["ports"] == [f"127.0.0.1:{query_port}:{query_port}"]
    health = jaeger["extensions"]["healthcheckv2"]["http"]["endpoint"].rpartition(":")[2]
    assert f":{health}/" in " ".join(SERVICES["jaeger"]["healthcheck"]["test"])
