"""The counter of documents' own examples tries each in every form, and says which were refused."""

import json

from tests.infrastructure.openapi.documents import api, operation
from tools.quality.document_examples import count

BODY = {"type": "object", "properties": {"n": {"type": "integer"}, "size": {"type": "string"}}, "required": ["n"]}


def test_document_examples_are_counted_with_the_reason_of_each_refusal(tmp_path):
    values = {"fits": {"n": 1}, "more": {"n": "1", "size": 1.10, "else": 1, "q": "other"}, "not": {"n": "x"}}
    examples = {name: {"value": value} for name, value in values.items()}
    content = {"application/json": {"schema": BODY, "examples": examples}}
    parameters = [
        {"name": "q", "in": "query", "schema": {"type": "integer"}, "example": 5},
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "example": "a"}},
        {"name": "none", "in": "query", "schema": {"type": "string", "example": None}},
        {"name": "nil", "in": "query", "schema": {"type": "string"}, "example": None},
    ]
    document = api({"/x/{id}": {"post": operation(parameters=parameters, requestBody={"content": content})}})
    path = tmp_path / "api.json"
    path.write_text(json.dumps(document))
    (tmp_path / "other.json").write_text("{}")
    report = count([path, tmp_path / "other.json"])
    assert (report.tried[str(path)], report.accepted[str(path)]) == (5, 4)
    ((_, refused),) = report.refused
    assert refused.example == "requestBody application/json examples/not"
    assert "integer" in str(refused.refusal)
