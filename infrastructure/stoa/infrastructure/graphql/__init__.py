"""GraphQL services as tools: schemas and operation documents to tools, and the calls. graphql-core is imported only
where a schema or a caller's selection is read."""

from stoa.infrastructure.graphql.backend import GraphQlBackend
from stoa.infrastructure.graphql.spec_kind import GraphQlSpecKind

__all__ = ["GraphQlBackend", "GraphQlSpecKind"]
