"""The use cases of the gateway and the ports they need. `Gateway` is the door for embedding programs.

Importing this package imports no optional dependency.
"""

from stoa.application.context import Context
from stoa.application.gateway import Gateway
from stoa.application.list_operations import ListQuery, Page
from stoa.domain.client_requests import ClientRequestRules, ClientRequests
from stoa.domain.identity import Principal
from stoa.domain.invocation import BearerToken, Invocation, Outcome
from stoa.domain.prompt import Prompt
from stoa.domain.resource import Resource
from stoa.domain.result import PromptMessage, TextContent, ToolResult
from stoa.domain.tool import Tool, ToolAnnotations

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
