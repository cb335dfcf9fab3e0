"""The dev issuer: where it refuses to work, its key file, and the shape of its tokens."""

import json
import os
import subprocess
import sys

import pytest
from joserfc.jwk import ECKey

from stoa.domain.errors import InvalidInput, StoaError
from stoa.infrastructure.oidc import DevIssuer, JwtTokenVerifier, StaticKeys
from stoa.infrastructure.oidc.compact_jws import parse
from stoa.infrastructure.oidc.dev_key import FILE_NAME, create_unless_present, load_or_create
from stoa.testing.clock import ManualClock

URL = "http://127.0.0.1:8080/dev"
posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes exist on POSIX systems only")


def new_issuer(directory, url=URL, environment="dev"):
    return DevIssuer(directory, url, "stoa", ManualClock(), environment)


def issue(issuer, **changes):
    asked = {"subject": "ann", "tenant": "acme", "roles": frozenset({"devops"}), "lifetime_seconds": 60}
    return issuer.issue(**asked | changes)


@pytest.mark.parametrize("environment", ["prod", "PROD", " prod ", "production"])
def test_it_refuses_to_work_in_production_and_makes_no_key(tmp_path, environment):
    with pytest.raises(InvalidInput, match="KEYCLOAK_URL"):
        new_issuer(tmp_path, environment=environment)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.gostoa.dev/realms/stoa",
        "http://localhost@evil.example/",
        "http://localhost.evil.example/",
        "http://0.0.0.0:8080/",
        "http://192.168.0.1/",
        "http://[::]/",
        "http://[oops/",
        "//127.0.0.1/",
        "file://localhost/etc",
        "127.0.0.1",
        "",
    ],
)
def test_it_refuses_an_issuer_that_is_not_on_this_machine(tmp_path, url):
    with pytest.raises(InvalidInput, match="KEYCLOAK_URL"):
        new_issuer(tmp_path, url)


@pytest.mark.parametrize("url", [URL, "http://localhost:8080", "http://[::1]:8080/dev", "https://127.1.2.3/"])
def test_it_works_on_any_loopback_address(tmp_path, url):
    assert parse(issue(new_issuer(tmp_path, url))).claims["iss"] == url


def test_its_tokens_look_like_keycloaks(tmp_path):
    issuer = new_issuer(tmp_path)
    token = parse(issue(issuer, roles=frozenset({"viewer", "devops"})))
    now = int(ManualClock().now().timestamp())
    assert token.header == {"typ": "JWT", "alg": "ES256", "kid": issuer.key_set()["keys"][0]["kid"]}
    assert len(token.claims.pop("jti")) == 36
    assert token.claims == {
        "iss": URL,
        "sub": "ann",
        "aud": "stoa",
        "azp": "stoa-cli",
        "typ": "Bearer",
        "iat": now,
        "exp": now + 60,
        "scope": "openid",
        "realm_access": {"roles": ["devops", "viewer"]},
        "tenant_id": "acme",
    }


def test_a_token_without_tenant_has_no_tenant_claim(tmp_path):
    assert "tenant_id" not in parse(issue(new_issuer(tmp_path), tenant=None)).claims


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""},
        {"subject": "a\nb"},
        {"tenant": "Acme"},
        {"tenant": ""},
        {"roles": frozenset({""})},
        {"roles": frozenset({"x" * 200 + str(number) for number in range(100)})},
        {"lifetime_seconds": 0},
        {"lifetime_seconds": 10**12},
    ],
)
def test_it_does_not_issue_what_no_verifier_would_accept(tmp_path, changes):
    with pytest.raises(InvalidInput):
        issue(new_issuer(tmp_path), **changes)


def test_its_key_set_is_public_and_named_by_thumbprint(tmp_path):
    (key,) = new_issuer(tmp_path).key_set()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"] == ECKey.import_key({name: key[name] for name in ("kty", "crv", "x", "y")}).thumbprint()


def test_the_private_key_shows_in_no_repr(tmp_path):
    issuer = new_issuer(tmp_path)
    secret = json.loads((tmp_path / FILE_NAME).read_text())["d"]
    assert secret not in f"{issuer!r}{issuer.key_set()!r}{vars(issuer)!r}"


async def test_another_process_with_the_same_directory_accepts_its_tokens(tmp_path):
    token = issue(new_issuer(tmp_path))
    later = new_issuer(tmp_path)
    verifier = JwtTokenVerifier(
        keys=StaticKeys(later.key_set()), issuer=URL, audiences=frozenset({"stoa"}), clock=ManualClock()
    )
    assert (await verifier.verify(token)).subject == "ann"


def test_processes_that_start_together_end_up_with_the_same_key(tmp_path):
    program = (
        "import sys, pathlib; from stoa.infrastructure.oidc.dev_key import load_or_create; sys.stdin.readline();"
        "print(load_or_create(pathlib.Path(sys.argv[1])).thumbprint())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0] for process in started}
    assert answers == {load_or_create(tmp_path / "data").thumbprint() + "\n"}
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE_NAME]


def test_the_loser_of_a_race_leaves_the_winners_key_in_place(tmp_path):
    winner = load_or_create(tmp_path)
    create_unless_present(tmp_path / FILE_NAME)
    assert load_or_create(tmp_path) == winner
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@posix_only
def test_the_key_file_and_its_new_folder_are_for_the_owner_only(tmp_path):
    previous = os.umask(0)
    try:
        new_issuer(tmp_path / "new")
    finally:
        os.umask(previous)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / FILE_NAME).stat().st_mode & 0o777 == 0o600


@posix_only
def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    new_issuer(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        new_issuer(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"kty": "oct", "k": "c2VjcmV0"}',
        json.dumps(ECKey.generate_key("P-256").as_dict(private=False)).encode(),
        json.dumps(ECKey.generate_key("P-384").as_dict(private=True)).encode(),
        b'{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "d": "c2VjcmV0"}',
    ],
)
def test_a_file_that_is_not_the_key_is_refused_by_name_and_not_quoted(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    (tmp_path / FILE_NAME).chmod(0o600)
    with pytest.raises(InvalidInput, match=FILE_NAME) as refusal:
        new_issuer(tmp_path)
    assert refusal.value.__context__ is None
    assert "c2VjcmV0" not in refusal.value.message


def test_a_folder_that_cannot_be_made_is_reported_by_name(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoaError, match="file"):
        new_issuer(tmp_path / "file" / "data")
