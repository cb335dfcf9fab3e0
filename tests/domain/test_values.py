"""What holds for every type of the domain: it cannot be changed behind anybody's back, refuses what it does not know,
and says nothing that nobody said."""

import dataclasses
import importlib
import pickle
import pkgutil
import types
import typing
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel, ValidationError
from tests.strategies import principals, tools

import stoa.domain
from stoa.domain.access.caller_limits import ROLE_LIMITS
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.client_requests.rules import ClientRequestRules
from stoa.domain.finding import Finding, Reason
from stoa.domain.metering.event import MeteringEvent
from stoa.domain.metering.price_list import DEFAULT_PRICES
from stoa.domain.operations.tool import ToolAnnotations
from stoa.domain.results.result import MISSING
from stoa.domain.value import Value


def _types() -> list[type[Any]]:
    found: dict[str, type[Any]] = {}
    for module in pkgutil.walk_packages(stoa.domain.__path__, "stoa.domain."):
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, type) and one.__module__.startswith("stoa.domain."):
                found[one.__name__] = one
    return [found[name] for name in sorted(found)]


TYPES = _types()
DATACLASSES = [one for one in TYPES if dataclasses.is_dataclass(one)]
MODELS = [one for one in TYPES if issubclass(one, BaseModel)]


def fields_of(kind: type[Any]) -> dict[str, Any]:
    """Every field that may be left out, and what it is then."""
    if issubclass(kind, BaseModel):
        members = kind.model_fields.items()
        return {name: one.get_default(call_default_factory=True) for name, one in members if not one.is_required()}
    return {
        one.name: one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        for one in dataclasses.fields(kind)
        if one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
    }


STRICT = [one for one in MODELS if one not in {Finding, MeteringEvent, Principal, RateLimit, Value}]
"""Whatever people write by hand, and more."""
MADE_BY_NAME = {
    "ClientCapabilities",
    "ModelPreferences",
    "ClientRequestFacts",
    "SamplingRequest",
    "Task",
    "Work",
}

DEFAULTS = [
    pytest.param(kind, name, id=f"{kind.__name__}.{name}")
    for kind in (*DATACLASSES, *MODELS)
    for name in fields_of(kind)
]

MADE_FOR_EVERY_CALL = {
    "Invocation",
    "LimitVerdict",
    "Outcome",
    "PolicyQuery",
    "RawAnswer",
    "TextContent",
    "ToolResult",
}
"""Freezing costs at each of them."""


@pytest.mark.parametrize("kind", DATACLASSES)
def test_a_value_cannot_be_changed_and_has_no_attribute_that_its_class_does_not_name(kind: type[Any]) -> None:
    value = object.__new__(kind)
    assert not hasattr(value, "__dict__")
    if kind.__name__ not in MADE_FOR_EVERY_CALL:
        assert kind.__hash__ is not None
        for one in dataclasses.fields(kind):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, one.name, None)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_cannot_be_changed(kind: type[BaseModel]) -> None:
    value = kind.model_construct()
    for name in kind.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, name, None)


@pytest.mark.parametrize(
    "kind", [one for one in MODELS if one not in {Finding, MeteringEvent, Principal, RateLimit, Value}]
)
def test_a_model_refuses_what_it_does_not_know(kind: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        kind.model_validate({"colour": "red"})


@pytest.mark.parametrize("kind", [one for one in DATACLASSES if one.__name__ in MADE_BY_NAME])
def test_what_has_many_fields_alike_is_made_by_their_names(kind: type[Any]) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind(*[None for _ in dataclasses.fields(kind)])


SPEAKING = {
    "Authentication.location": "header",
    "Authentication.parameter_name": "X-API-Key",
    "Authentication.type": "none",
    "CallerLimits.roles": ROLE_LIMITS,
    "LimitCharge.cost": 1,
    "ClientRequestRules.elicitation": True,
    "ClientRequestRules.max_tokens": 4096,
    "ClientRequestRules.model_hints": ("*",),
    "ClientRequestRules.per_call": 32,
    "ClientRequestRules.rate_limit": RateLimit(requests_per_minute=120, burst=60),
    "ClientRequestRules.roots": True,
    "ClientRequestRules.sampling": True,
    "ClientRequestRules.url_hosts": ("*",),
    "FormField.explode": True,
    "FormField.style": "form",
    "Invocation.consumer": "unknown",
    "Invocation.kind": "tool",
    "LocalBinding.kind": "local",
    "MeteringEvent.consumer": "unknown",
    "AnswerBinding.kind": "answer",
    "PageBinding.kind": "page",
    "Principal.issuer": "local",
    "PriceList.versions": (DEFAULT_PRICES,),
    "ClientRequestFacts.include_context": "none",
    "RateLimit.burst": 1,
    "RateLimit.fail": "share",
    "RawAnswer.charset": "utf-8",
    "RawAnswer.uri": "stoa://result",
    "RestBinding.accept": "application/json, */*;q=0.8",
    "RestBinding.kind": "rest",
    "SamplingAnswer.role": "assistant",
    "SamplingRequest.include_context": "none",
    "Session.log_level": "warning",
    "StaticBinding.kind": "static",
    "Task.poll_seconds": 2.0,
    "Task.status": "working",
    "Task.ttl_seconds": 3600.0,
    "Task.version": 1,
    "Tool.tasks": "never",
    "Tool.validation": "strict",
    "ToolResult.structured": MISSING,
    "ToolUseResult.structured": MISSING,
    "Work.consumer": "unknown",
    **{
        f"{kind}.input_schema": {"type": "object", "properties": {}}
        for kind in ("Operation", "Prompt", "Resource", "Tool")
    },
    **{f"{kind}.enabled": True for kind in ("Operation", "Prompt", "Resource", "Tool")},
    **{f"{kind}.timeout_seconds": 30.0 for kind in ("Operation", "Prompt", "Resource", "Tool")},
    "MeteringEvent.calls": 1,
    "Refusal.calls": 1,
    "Finding.reason": Reason.PART,
    "AnswerRules.max_characters": 256 * 1024,
    "StreamBounds.max_bytes": 1024 * 1024,
    "StreamBounds.max_messages": 100,
    "StreamBounds.max_seconds": 10.0,
    "_Level.may_lower": True,
    "StrangerLimits.address": RateLimit(requests_per_minute=600, burst=200),
    "StrangerLimits.everyone": RateLimit(requests_per_minute=6_000, burst=1_000),
}
"""The published defaults that are not empty."""


@pytest.mark.parametrize(("kind", "name"), DEFAULTS)
def test_what_is_left_out_says_nothing_but_for_the_published_defaults(kind: type[Any], name: str) -> None:
    value = fields_of(kind)[name]
    full_name = f"{kind.__name__}.{name}"
    if full_name in SPEAKING:
        assert value == SPEAKING[full_name]
        return
    hint = typing.get_type_hints(kind)[name]
    if types.NoneType in typing.get_args(hint) or hint is Any:
        assert value is None
    elif isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        assert value == type(value)()
    else:
        assert value is not None
        assert not value


def test_no_published_default_is_forgotten() -> None:
    assert {param.id for param in DEFAULTS} >= SPEAKING.keys()


@given(tools(), principals())
def test_a_changed_copy_forgets_what_the_original_computed_and_keeps_its_own_fields(tool: Any, principal: Any) -> None:
    _ = tool.key, principal.identity_key
    assert tool.model_copy(update={"name": "other"}).key.name == "other"
    assert principal.model_copy(update={"subject": "other"}).identity_key != principal.identity_key or (
        principal.subject == "other"
    )
    assert tool.model_copy() == tool


def test_a_deep_copy_shares_nothing_and_a_plain_one_shares_its_parts() -> None:
    annotations = ToolAnnotations()
    rules = ClientRequestRules()
    assert rules.model_copy().rate_limit is rules.rate_limit
    assert rules.model_copy(deep=True).rate_limit is not rules.rate_limit
    assert rules.model_copy(deep=True) == rules
    assert annotations.model_copy(update=None) == annotations


def test_value_copies_and_pickles_share_the_set_of_their_fields_and_keep_what_it_says() -> None:
    first, second = (pickle.loads(pickle.dumps(Principal(subject=name))) for name in ("a", "b"))
    assert first.model_fields_set == {"subject"}
    assert first.__pydantic_fields_set__ is second.__pydantic_fields_set__
    copy = first.model_copy(update={"tenant": "acme"})
    assert copy.model_fields_set == {"subject", "tenant"}
    assert first.model_fields_set == {"subject"}
