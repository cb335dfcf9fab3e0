"""OpenAPI 2.0, 3.x documents to tools. `OpenApiSpecKind` is the only name that a gateway needs."""

from stoa.infrastructure.openapi.converter import OpenApiConverter
from stoa.infrastructure.openapi.spec_kind import OpenApiSpecKind

__all__ = ["OpenApiConverter", "OpenApiSpecKind"]
