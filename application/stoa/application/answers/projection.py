"""Projections of answers by JMESPath expressions (jmespath.org), bounded: an expression is checked before it is used,
and evaluating it is limited in work and in the size of what it makes. Few expressions need much; nested copies grow
without an end."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jmespath.exceptions import (  # type: ignore[import-untyped]
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathError,
    LexerError,
    ParseError,
)
from jmespath.functions import Functions  # type: ignore[import-untyped]
from jmespath.parser import Parser  # type: ignore[import-untyped]
from jmespath.visitor import Options, TreeInterpreter  # type: ignore[import-untyped]

from stoa.domain.operations.answer_rules import MAX_EXPRESSION
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

MAX_DEPTH = 32
MAX_WORK = 1_000_000
"""Steps of the evaluation and values that it makes: a second, at most."""
MAX_TEXT = 4 * 1024 * 1024
"""Characters of a text that functions make."""
_CHARACTERS_A_STEP = 64
_FUNCTIONS = Functions()


class BadExpression(ValueError):
    """The text is no expression that can be used; the message says where, and why."""


class Unprojectable(ValueError):
    """The expression does not suit this answer."""


class Projection:
    """An expression that was checked."""

    __slots__ = ("_tree", "text")

    def __init__(self, text: str) -> None:
        """Raises BadExpression."""
        self.text = text
        self._tree = _parsed(text)
        _check(self._tree)

    def of(self, value: Any) -> Any:
        """The projection of a JSON value. Raises Unprojectable."""
        interpreter = _BoundedInterpreter()
        try:
            projected = interpreter.visit(self._tree, value)
            interpreter.weigh(projected)
        except _TooMuch:
            raise Unprojectable("it takes too much work for this answer") from None
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
            raise Unprojectable("one of its functions or comparisons does not suit the values of this answer") from None
        return projected


@lru_cache(maxsize=256)
def projection(text: str) -> Projection:
    """The checked expression. Raises BadExpression."""
    return Projection(text)


def _parsed(text: str) -> JsonObject:
    if len(text) > MAX_EXPRESSION:
        raise BadExpression(f"it has more than {MAX_EXPRESSION} characters")
    try:
        tree: JsonObject = {**Parser().parse(text).parsed}
    except EmptyExpressionError:
        raise BadExpression("it is empty") from None
    except IncompleteExpressionError:
        raise BadExpression(f"it is not complete at its end, character {len(text) + 1}") from None
    except (LexerError, ParseError) as refused:
        place: int = refused.lex_position
        raise BadExpression(f"character {place + 1}, {text[place : place + 20]!r}, is not understood") from None
    except RecursionError:
        raise BadExpression(f"it is nested more than {MAX_DEPTH} deep") from None
    except (JMESPathError, ValueError, Warning):  # a program may have warnings of old forms raised
        raise BadExpression("a literal in it is not understood") from None
    return tree


def _check(tree: JsonObject) -> None:
    """Refuses a tree that is too deep, or that calls a function that does not exist so."""
    if any(depth > MAX_DEPTH for _, depth in _nodes(tree)):
        raise BadExpression(f"it is nested more than {MAX_DEPTH} deep")
    for node, _ in _nodes(tree):
        if node["type"] == "function_expression":
            _check_function(node["value"], len(node["children"]))


def _check_function(name: str, given: int) -> None:
    known: JsonObject = _FUNCTIONS.FUNCTION_TABLE
    if name not in known:
        raise BadExpression(f"there is no function {name}(); there are {', '.join(sorted(known))}")
    signature = known[name]["signature"]
    is_variadic = bool(signature and signature[-1].get("variadic"))
    if given < len(signature) or (given > len(signature) and not is_variadic):
        least = "at least " if is_variadic else ""
        raise BadExpression(f"{name}() takes {least}{len(signature)} arguments, not {given}")


def _nodes(tree: JsonObject) -> Iterator[tuple[JsonObject, int]]:
    pending: list[tuple[Any, int]] = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        if is_object(node) and "type" in node:
            yield node, depth
            pending += [(child, depth + 1) for child in node.get("children", ())]


class _TooMuch(Exception):
    pass


class _BoundedInterpreter(TreeInterpreter):  # type: ignore[misc]  # the library is untyped
    """Counts steps, and whatever is made, before more is made of it."""

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=_FUNCTIONS))
        self._left = MAX_WORK

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._spend(1)
        result = super().visit(node, *args, **kwargs)
        if is_array(result) or is_object(result):
            self._spend(len(result))
        return result

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not is_array(base):
            return None
        self._spend(sum(len(entry) for entry in base if is_array(entry)))
        return [inner for entry in base for inner in (entry if is_array(entry) else (entry,))]

    def visit_comparator(self, node: Any, value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        self.weigh(left)  # comparing walks both
        self.weigh(right)
        literals: list[JsonObject] = [{"type": "literal", "value": each, "children": []} for each in (left, right)]
        compared: Any = {**node, "children": literals}
        return super().visit_comparator(compared, None)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name, given = node["value"], [self.visit(child, value) for child in node["children"]]
        if name in {"to_string", "contains", "sort", "sum", "avg", "max", "min"}:
            for each in given:
                self.weigh(each)
        elif name == "join" and isinstance(given[0], str) and is_array(given[1]):
            made = len(given[0]) * len(given[1]) + sum(len(each) for each in given[1] if isinstance(each, str))
            self._spend(made // _CHARACTERS_A_STEP)
        result = _FUNCTIONS.call_function(name, given)
        if isinstance(result, str) and len(result) > MAX_TEXT:
            raise _TooMuch
        return result

    def weigh(self, value: Any) -> None:
        """Counts all that is in a value. Parts that stand in several places count in each, as they would be written."""
        pending = [value]
        while pending:
            part = pending.pop()
            if is_array(part):
                self._spend(len(part) + 1)
                pending += part
            elif is_object(part):
                self._spend(len(part) + 1)
                pending += part.values()
            else:
                self._spend(1 + len(part) // _CHARACTERS_A_STEP if isinstance(part, str) else 1)

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise _TooMuch
