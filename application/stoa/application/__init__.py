"""The use cases of the gateway and the ports they need. `Gateway` is the door for embedding programs.

Importing this package imports no optional dependency.
"""

from stoa.application.context import Context
from stoa.application.gateway import Gateway
from stoa.application.list_tools import ToolPage, ToolQuery
from stoa.domain.identity import Principal
from stoa.domain.invocation import BearerToken, Invocation, Outcome
from stoa.domain.result import ToolResult
from stoa.domain.tool import Tool, ToolAnnotations

__all__ = [
    "BearerToken",
    "Context",
    "Gateway",
    "Invocation",
    "Outcome",
    "Principal",
    "Tool",
    "ToolAnnotations",
    "ToolPage",
    "ToolQuery",
    "ToolResult",
]
