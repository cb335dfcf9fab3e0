"""A Prompt: messages that a person or an agent may request, made from arguments."""

from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import model_validator

from stoa.domain.operations.operation import Kind, Operation, string_schema
from stoa.domain.operations.tool import ToolName
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.domain.schema.plain_text import PlainText
from stoa.domain.value import Strict


class PromptArgument(Strict):
    """One argument; its value is always a string."""

    name: ToolName
    title: PlainText | None = None
    description: PlainText = ""
    required: bool = False
    completions: tuple[str, ...] = ()
    """Values to propose during input; others are allowed too."""


class Prompt(Operation):
    """One prompt. Its input schema follows from its arguments."""

    kind: ClassVar[Kind] = "prompt"

    name: ToolName
    arguments: tuple[PromptArgument, ...] = ()

    @cached_property
    def identifier(self) -> str:
        return self.name

    @model_validator(mode="before")
    @classmethod
    def _derives_its_schema(cls, fields: Any) -> Any:
        if not is_object(fields):
            return fields
        arguments = [PromptArgument.model_validate(argument) for argument in fields.get("arguments", ())]
        return {**fields, "input_schema": _schema(arguments)}

    @model_validator(mode="after")
    def _names_each_argument_once(self) -> Self:
        if len({argument.name for argument in self.arguments}) < len(self.arguments):
            raise ValueError("two arguments have the same name")
        return self


def _schema(arguments: list[PromptArgument]) -> JsonObject:
    described: dict[str, JsonObject] = {
        argument.name: {"description": argument.description} if argument.description else {} for argument in arguments
    }
    return string_schema(described, [argument.name for argument in arguments if argument.required])
