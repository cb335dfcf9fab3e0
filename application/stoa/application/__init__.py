"""The use cases of the gateway and the ports they need. `Gateway` is the door for embedding programs.

Importing this package imports no optional dependency.
"""

from stoa.application.backends.context import Context
from stoa.application.catalogue.list_operations import ListQuery, Page
from stoa.application.gateway import Gateway
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import BearerToken, Invocation, Outcome
from stoa.domain.client_requests.rules import ClientRequestRules, ClientRequests
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool, ToolAnnotations
from stoa.domain.results.result import PromptMessage, TextContent, ToolResult

__all__ = [
    "BearerToken",
    "ClientRequestRules",
    "ClientRequests",
    "Context",
    "Gateway",
    "Invocation",
    "ListQuery",
    "Outcome",
    "Page",
    "Principal",
    "Prompt",
    "PromptMessage",
    "Resource",
    "TextContent",
    "Tool",
    "ToolAnnotations",
    "ToolResult",
]
