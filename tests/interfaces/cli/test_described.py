"""Commands that take an API description instead of manifests: what they serve, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.infrastructure.grpc.loopback import ECHO_PROTO

from stoa.interfaces.cli.app import run

Shell = Callable[..., tuple[int, str, str]]

PETS = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "paths": {
        "/pets/{id}": {
            verb: {
                "operationId": f"{verb}Pet",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "responses": {"200": {"description": "ok"}},
            }
            for verb in ("get", "delete")
        }
    },
}


@pytest.fixture
def stoa(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs a command in a folder with descriptions: (exit code, standard output, standard error)."""
    (tmp_path / "pets.json").write_text(json.dumps(PETS))
    (tmp_path / "empty.json").write_text(json.dumps({**PETS, "paths": {}}))
    (tmp_path / "shop.graphql").write_text("type Query { say(text: String!): String }")
    (tmp_path / "echo.proto").write_text(ECHO_PROTO)
    (tmp_path / "tools.yaml").write_text("apiVersion: gostoa.dev/v1alpha1\nkind: Tool\n")
    (tmp_path / "note.json").write_text('{"hello": 1}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "s3cr3t")
    monkeypatch.setenv("HEADER", "Basic s3cr3t")
    for name in ("TOKEN", "APIKEY"):  # what the option leaves there ends with the test
        monkeypatch.setenv(f"STOA_SECRET__GLOBAL__HEADER_FROM_ENV__{name}", "")

    def execute(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([*arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return execute


def test_described_tool_is_called_by_a_platform_admin_unless_a_role_is_named(stoa: Shell, upstream: str) -> None:
    at = ("--spec", "pets.json", "--base-url", upstream)
    code, out, err = stoa("call", "getPet", "id=7", *at)
    assert (code, json.loads(out), err) == (0, {"path": "/pets/7"}, "")
    code, out, err = stoa("call", "deletePet", "id=7", *at, "--role", "viewer")
    assert (code, out) == (77, "")
    assert "Unknown tool" in err or "Not permitted" in err


def test_described_tool_is_not_called_without_a_credential_where_development_is_over(
    stoa: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIDC_ISSUER", "https://issuer.example")
    code, _, err = stoa("call", "getPet", "id=7", "--spec", "pets.json", "--base-url", "https://api.example")
    assert code != 0
    assert "set STOA_TOKEN" in err


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (
            ("--tool", "say", "text=hi", "--spec", "shop.graphql", "--endpoint", "https://shop.example/graphql"),
            {"url": "https://shop.example/graphql", "method": "POST", "authentication": "bearer"},
        ),
        (
            ("--tool", "Echo_Say", "text=hi", "--spec", "echo.proto", "--base-url", "grpcs://echo.example:443"),
            {
                "target": "grpcs://echo.example:443",
                "method": "/echo.v1.Echo/Say",
                "metadata": {},
                "message": {"text": "hi"},
                "authentication": "bearer",
            },
        ),
        (
            ("--tool", "getPet", "id=7", "--spec", "pets.json", "--base-url", "https://api.example/v1"),
            {"url": "https://api.example/v1/pets/7", "method": "GET", "authentication": "bearer"},
        ),
    ],
    ids=["graphql", "grpc", "openapi"],
)
def test_explaining_a_described_tool_shows_the_request_and_no_secret(
    stoa: Shell, arguments: tuple[str, ...], request_: dict[str, object]
) -> None:
    code, out, err = stoa("policy", "explain", *arguments, "--as", "cpi-admin", "--header-from-env", "TOKEN", "--json")
    assert code == 0, err
    assert json.loads(out)["request"].items() >= request_.items()
    assert "s3cr3t" not in out + err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pets.json",), "set spec.baseURL (http or https); --base-url says where its operations are called"),
        (("shop.graphql",), "set spec.graphQL.endpoint; --base-url says where its operations are called"),
        (("echo.proto",), "set spec.grpc.target; --base-url says where its operations are called"),
        (
            ("empty.json", "--base-url", "https://a.example"),
            "empty.json: no tools: no operation of the API description",
        ),
        (("pets.json", "--base-url", "a.example"), "pets.json: --base-url: write an http(s) URL"),
        (("note.json",), "note.json: line 1: not an OpenAPI document"),
        (("tools.yaml",), "tools.yaml: is a manifest and no API description; name it with --catalogue"),
        ((".",), ".: is a folder; name a folder of manifests with --catalogue"),
        (("absent.yaml",), "absent.yaml: no such file"),
        (("ftp://a.example/x",), "only http and https URLs and file paths can be fetched"),
        (("pets.json", "--header-from-env", "ABSENT"), "the environment variable ABSENT is not set"),
        (("pets.json", "--header-from-env", "HEADER"), "write Authorization=HEADER to send it as it is"),
        (("pets.json", "--header-from-env", "a b=TOKEN"), "write HEADER=VARIABLE"),
        (("pets.json", "--header-from-env", "X-Key="), "write HEADER=VARIABLE"),
        (("pets.json", "--scheme-from-env", "TOKEN"), "write SCHEME=VARIABLE"),
        (("pets.json", "--scheme-from-env", "key=ABSENT"), "the environment variable ABSENT is not set"),
        (
            ("pets.json", "--base-url", "https://a.example", "--scheme-from-env", "absent=TOKEN"),
            "absent",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_description_that_cannot_be_served_is_refused_with_what_to_change(
    stoa: Shell, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = stoa("call", "getPet", "--spec", *arguments)
    assert (code, out) == (65, "")
    assert message in err.splitlines()[-1]
    assert "s3cr3t" not in err


def test_options_of_a_description_without_one_are_refused(stoa: Shell) -> None:
    code, _, err = stoa("call", "getPet", "--base-url", "https://a.example")
    assert (code, err) == (
        65,
        "stoa: --base-url, --header-from-env and --scheme-from-env belong to an API description; name it\n",
    )


def test_option_that_does_not_exist_is_not_taken_for_a_description(stoa: Shell) -> None:
    with pytest.raises(SystemExit) as ended:
        stoa("serve", "--bogus")
    assert ended.value.code != 0


def test_description_in_a_folder_is_converted_and_called_with_all_its_files(stoa: Shell, upstream: str) -> None:
    Path("api/paths").mkdir(parents=True)
    Path("api/openapi.json").write_text(json.dumps({**PETS, "paths": {"/pets/{id}": {"$ref": "paths/pet.json"}}}))
    Path("api/paths/pet.json").write_text(json.dumps(PETS["paths"]["/pets/{id}"]))
    for spec in ("api", "api/openapi.json"):
        code, out, err = stoa("convert", spec, "--format", "json")
        assert (code, [tool["name"] for tool in json.loads(out)], err) == (0, ["getPet", "deletePet"], "")
        code, out, err = stoa("call", "getPet", "id=7", "--spec", spec, "--base-url", upstream)
        assert (code, json.loads(out), err) == (0, {"path": "/pets/7"}, "")


def test_description_is_converted_with_the_name_of_its_server(stoa: Shell) -> None:
    code, out, err = stoa("convert", "pets.json", "--format", "json", "--base-url", "https://a.example")
    assert (code, err) == (0, "")
    assert [tool["name"] for tool in json.loads(out)] == ["getPet", "deletePet"]


def test_description_is_converted_with_the_files_below_its_folder_that_it_refers_to(stoa: Shell) -> None:
    Path("events").mkdir()
    Path("events/order.proto").write_text('syntax = "proto3"; message Order { string item = 1; }')
    Path("secret.proto").write_text('syntax = "proto3"; message Secret { string secret = 1; }')
    for reference, names in (("./order.proto", ["produce_orders"]), ("../secret.proto", [])):
        payload = {"schemaFormat": "application/vnd.google.protobuf;version=3", "schema": {"$ref": reference}}
        document = {
            "asyncapi": "3.0.0",
            "info": {"title": "Orders", "version": "1"},
            "servers": {"main": {"host": "127.0.0.1:1", "protocol": "kafka"}},
            "channels": {"orders": {"address": "orders", "messages": {"order": {"payload": payload}}}},
            "operations": {"take": {"action": "receive", "channel": {"$ref": "#/channels/orders"}}},
        }
        Path("events/api.json").write_text(json.dumps(document))
        _, out, err = stoa("convert", "events/api.json", "--format", "json")
        tools = json.loads(out)
        assert [tool["name"] for tool in tools] == names
        assert ("not below the document's folder" in err) == (not names)
        assert [list(tool["inputSchema"]["properties"]["value"]["properties"]) for tool in tools] == [["item"]] * len(
            names
        )
