"""The JSON of prompts that MCP and REST share."""

from stoa.application.gateway import Gateway
from stoa.domain.calls.invocation import Outcome


def prompt_description(gateway: Gateway, outcome: Outcome, name: str) -> str:
    """The description of the prompt of a successful outcome, as its caller sees the catalogue; empty without one."""
    tenant = None if outcome.principal is None else outcome.principal.tenant
    prompt = gateway.registry.catalogue.find(tenant, name, "prompt")
    return "" if prompt is None else prompt.description
