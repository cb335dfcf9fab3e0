"""`answer` of a Tool, of `toolDefaults` and of an override: how much of an answer callers get, and which part of it."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from stoa.application.answers.projection import BadExpression, projection
from stoa.application.ports.manifest_parts import ManifestModel, StreamManifest
from stoa.domain.operations.answer_rules import MAX_EXPRESSION, MIN_CHARACTERS, AnswerRules, Expression
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import TEXT_LIMIT
from stoa.domain.schema.inlining import inlined
from stoa.domain.schema.json_value import JsonObject, as_object, texts_in

_OUTLINE_CHARACTERS = 300


def _expression(text: str) -> str:
    try:
        projection(text)
    except BadExpression as bad:
        raise ValueError(f"write a JMESPath expression: {bad}") from bad
    return text


class AnswerManifest(ManifestModel):
    # No defaults: an API server would write them, and an override would then not take those of toolDefaults.
    max_characters: int | None = Field(default=None, ge=MIN_CHARACTERS, le=TEXT_LIMIT)
    """Characters of an answer that callers get at once, 262144 if absent; the rest stays readable for ten minutes."""
    projection: Annotated[Expression, AfterValidator(_expression)] | None = None
    """JMESPath expression that makes what callers get of each answer."""
    projection_argument: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    """Name of an optional argument, such as `jmespath`, by which callers ask for a part of an answer."""
    stream: StreamManifest | None = None
    """Bounds of a streamed answer: reading ends at the first."""

    def over(self, others: "AnswerManifest") -> AnswerRules:
        """These rules; fields that are not written are those of `others`."""
        written: JsonObject = {}
        for manifest in (others, self):
            written |= {name: value for name, value in manifest if value is not None}
        if "stream" in written:
            written["stream"] = written["stream"].to_domain()
        return AnswerRules(**written)


NO_ANSWER = AnswerManifest()


def with_answer_rules(tool: Tool, rules: AnswerRules, *, output_schema: JsonObject | None = None) -> Tool:
    """The tool under these rules, with the argument that they name. A projected answer has another shape than the one
    that was described, so `output_schema` takes its place: None, if there is no promise to keep."""
    if rules == AnswerRules():
        return tool
    if not rules.projects:
        return tool.model_copy(update={"answer": rules})
    changed: JsonObject = {"output_schema": output_schema}
    if rules.projection_argument is not None:
        properties = as_object(tool.input_schema.get("properties"))
        name = _free_name(rules.projection_argument, properties)
        rules = rules.model_copy(update={"projection_argument": name})
        argument = {"type": "string", "maxLength": MAX_EXPRESSION, "description": _description(tool, rules)}
        changed["input_schema"] = {**tool.input_schema, "properties": {**properties, name: argument}}
    return tool.model_copy(update={**changed, "answer": rules})


def _free_name(wanted: str, properties: JsonObject) -> str:
    """A name that is no parameter of the API."""
    names = (wanted, f"{wanted}_of_answer", *(f"{wanted}_{number}" for number in range(2, len(properties) + 4)))
    return next(name for name in names if name not in properties)


def _description(tool: Tool, rules: AnswerRules) -> str:
    """The answer is outlined here, because no output schema says what there is to ask for."""
    sentence = "JMESPath: returns only this part of the answer, e.g. `items[].{id: id, name: name}`."
    outline = "" if rules.projection is not None else ", ".join(_outline(tool.output_schema))
    if len(outline) > _OUTLINE_CHARACTERS:
        outline = outline[:_OUTLINE_CHARACTERS].rpartition(", ")[0] + ", ..."
    return f"{sentence} The answer has {outline}." if outline else sentence


def _outline(schema: JsonObject | None) -> Iterator[str]:
    whole = as_object(inlined(schema or {}))
    for name, member in as_object(whole.get("properties")).items():
        entries = as_object(as_object(member).get("items"))
        inner = list(as_object(entries.get("properties")))
        if "array" in _types(member) and inner:
            yield f"{name}[].({', '.join(inner)})"
        else:
            yield name


def _types(schema: Any) -> list[str]:
    written = as_object(schema).get("type")
    return [written] if isinstance(written, str) else texts_in(written)
