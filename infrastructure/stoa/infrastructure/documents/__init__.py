"""The bounded reader of YAML and JSON from outside, shared by every adapter family that reads such documents."""

from stoa.infrastructure.documents.lines import LineIndex
from stoa.infrastructure.documents.manifest_content import NO_MAPPING, bounded_content
from stoa.infrastructure.documents.problem import DocumentProblem
from stoa.infrastructure.documents.repeated_keys import RepeatedKey
from stoa.infrastructure.documents.text import read_json, read_value, read_values
from stoa.infrastructure.documents.written_numbers import plain_number
from stoa.infrastructure.documents.yaml_text import parse_yaml, parse_yaml_all

__all__ = [
    "NO_MAPPING",
    "DocumentProblem",
    "LineIndex",
    "RepeatedKey",
    "bounded_content",
    "parse_yaml",
    "parse_yaml_all",
    "plain_number",
    "read_json",
    "read_value",
    "read_values",
]
