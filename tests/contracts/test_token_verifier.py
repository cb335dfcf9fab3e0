"""The laws of TokenVerifier (and of TokenIssuer, through the verifier that matches it), for every adapter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.ports import TokenVerifier
from stoa.domain.access.identity import ROLE_SCOPES, Principal
from stoa.domain.errors import NotAuthenticated
from stoa.infrastructure.oidc import DevIssuer, JwtTokenVerifier, StaticKeys
from stoa.testing.clock import ManualClock

ISSUER = "http://127.0.0.1:8080/dev"


@dataclass(frozen=True)
class Person:
    subject: str
    tenant: str | None = None
    roles: frozenset[str] = frozenset()
    lifetime_seconds: int = 600


@dataclass
class Arranged:
    """A verifier that accepts these tokens, one for each person, as of now by this clock."""

    verifier: TokenVerifier
    tokens: list[str]
    clock: ManualClock


Arrange = Callable[[Sequence[Person]], Arranged]


def _in_memory(people: Sequence[Person]) -> Arranged:
    clock = ManualClock()
    principals = {
        f"token-{number}": Principal.of(
            person.subject,
            tenant=person.tenant,
            roles=person.roles,
            issuer=ISSUER,
            expires_at=clock.now() + timedelta(seconds=person.lifetime_seconds),
        )
        for number, person in enumerate(people)
    }
    return Arranged(InMemoryTokenVerifier(principals, clock), list(principals), clock)


@pytest.fixture(scope="session", params=["memory", "dev issuer"])
def arrange(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Arrange:
    if request.param == "memory":
        return _in_memory
    directory = tmp_path_factory.mktemp("dev-issuer")

    def with_dev_issuer(people: Sequence[Person]) -> Arranged:
        clock = ManualClock()
        issuer = DevIssuer(directory, ISSUER, "stoa", clock, "dev")
        verifier = JwtTokenVerifier(
            keys=StaticKeys(issuer.key_set()), issuer=ISSUER, audiences=frozenset({"stoa"}), clock=clock
        )
        tokens = [
            issuer.issue(subject=p.subject, tenant=p.tenant, roles=p.roles, lifetime_seconds=p.lifetime_seconds)
            for p in people
        ]
        return Arranged(verifier, tokens, clock)

    return with_dev_issuer


_printable = st.text(st.characters(min_codepoint=0x20, exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
people = st.builds(
    Person,
    subject=_printable,
    tenant=st.none() | st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True),
    roles=st.frozensets(st.sampled_from(sorted(ROLE_SCOPES)) | _printable, max_size=5),
    lifetime_seconds=st.integers(1, 10**6),
)


@settings(max_examples=50, deadline=None)
@given(asked=st.lists(people, min_size=1, max_size=4))
async def test_a_token_yields_whom_it_was_issued_for(arrange, asked):
    arranged = arrange(asked)
    for person, token in zip(asked, arranged.tokens, strict=True):
        principal = await arranged.verifier.verify(token)
        expected = Principal.of(person.subject, tenant=person.tenant, roles=person.roles)
        assert (principal.subject, principal.tenant, principal.roles) == (
            expected.subject,
            expected.tenant,
            expected.roles,
        )
        assert expected.scopes <= principal.scopes <= expected.scopes | {"openid"}
        assert principal.expires_at == arranged.clock.now() + timedelta(seconds=person.lifetime_seconds)
        assert principal.issuer in arranged.verifier.issuers


@settings(max_examples=50, deadline=None)
@given(person=people, moments=st.lists(st.integers(0, 400), max_size=8))
async def test_equal_tokens_give_equal_principals_until_they_expire_and_none_afterwards(arrange, person, moments):
    arranged = arrange([person])
    token = arranged.tokens[0]
    first = await arranged.verifier.verify(token)
    age = 0
    for step in moments:
        age += step
        arranged.clock.advance(step)
        if age < person.lifetime_seconds:
            assert await arranged.verifier.verify(token) == first
        else:
            with pytest.raises(NotAuthenticated, match="expired"):
                await arranged.verifier.verify(token)


@pytest.mark.parametrize("lifetime_seconds", [1, 30, 299, 300, 301, 3600])
async def test_the_second_of_expiry_is_the_first_in_which_a_token_is_refused(arrange, lifetime_seconds):
    arranged = arrange([Person("ann", lifetime_seconds=lifetime_seconds)])
    await arranged.verifier.verify(arranged.tokens[0])
    arranged.clock.advance(lifetime_seconds - 0.001)
    await arranged.verifier.verify(arranged.tokens[0])
    arranged.clock.advance(0.001)
    with pytest.raises(NotAuthenticated) as refusal:
        await arranged.verifier.verify(arranged.tokens[0])
    assert not refusal.value.is_missing


@settings(max_examples=100, deadline=None)
@given(token=st.text(max_size=200))
async def test_a_token_that_nobody_issued_is_refused_and_not_quoted(arrange, token):
    arranged = arrange([Person("ann")])
    with pytest.raises(NotAuthenticated) as refusal:
        await arranged.verifier.verify(token)
    assert len(token) < 8 or token not in f"{refusal.value!r}{refusal.value.message}{vars(refusal.value)}"


async def test_a_refused_token_does_not_appear_in_the_chain_of_errors(arrange):
    arranged = arrange([Person("ann", lifetime_seconds=1)])
    token = arranged.tokens[0]
    arranged.clock.advance(2)
    for refused in (token, token + "x", "x" + token, token[:-1]):
        with pytest.raises(NotAuthenticated) as refusal:
            await arranged.verifier.verify(refused)
        assert refusal.value.__cause__ is None
        assert refusal.value.__context__ is None
        assert refused not in repr(refusal.value)


async def test_a_recognised_token_is_one_that_verify_accepts_with_the_same_principal(arrange):
    at = arrange([Person("ann", "acme", lifetime_seconds=60)])
    token = at.tokens[0]
    assert at.verifier.recognise("no token") is None
    verified = await at.verifier.verify(token)
    assert at.verifier.recognise(token) in (verified, None)
    at.clock.advance(60)
    assert at.verifier.recognise(token) is None
