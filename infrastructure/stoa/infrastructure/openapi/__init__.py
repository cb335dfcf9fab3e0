"""OpenAPI 2.0, 3.x documents to tools. `OpenApiConverter` is the only name the outside needs."""

from stoa.infrastructure.openapi.converter import OpenApiConverter

__all__ = ["OpenApiConverter"]
