"""Names that an earlier version of a converter gave. They hold until the description is fetched again."""

from collections.abc import Iterable

from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool


def without_earlier_names(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """The operations, called by their present names only."""
    return tuple(
        operation.model_copy(update={"earlier_names": ()})
        if isinstance(operation, Tool) and operation.earlier_names
        else operation
        for operation in operations
    )
