"""The state that one conversion of one document shares between its operations."""

from stoa.application.ports import ConversionOptions
from stoa.domain.operations.icon import Icon
from stoa.domain.schema.json_value import as_object
from stoa.domain.schema.plain_text import PlainParts
from stoa.infrastructure.openapi.bundle import Bundler
from stoa.infrastructure.openapi.compiled import UsableSchemas
from stoa.infrastructure.openapi.dialect import INPUT_DIALECT, OUTPUT_DIALECT
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.references import References
from stoa.infrastructure.openapi.report import Report
from stoa.infrastructure.openapi.schema import SchemaNormaliser
from stoa.infrastructure.openapi.security import Security
from stoa.infrastructure.openapi.servers import Servers


def logo_of(document: ApiDocument) -> tuple[Icon, ...]:
    """The `x-logo` of an API's `info`, if clients may fetch it."""
    url = as_object(as_object(document.root.get("info")).get("x-logo")).get("url")
    if not isinstance(url, str) or not url.startswith("https:"):
        return ()
    try:
        return (Icon(src=url),)
    except ValueError:
        return ()


class ConversionContext:
    def __init__(self, document: ApiDocument, options: ConversionOptions) -> None:
        self.document = document
        self.options = options
        self.report = Report(document.location, document.text)
        self.references = References(document)
        self.servers = Servers(document, options.base_url)
        self.security = Security(document, self.references, options)
        self.inputs = SchemaNormaliser(document, self.references, self.report, INPUT_DIALECT)
        self.outputs = SchemaNormaliser(document, self.references, self.report, OUTPUT_DIALECT)
        self.input_bundler = Bundler(self.inputs)
        self.output_bundler = Bundler(self.outputs)
        self.plain_parts = PlainParts()
        self.usable_schemas = UsableSchemas()
        self.icons = options.icons or logo_of(document)
        self.too_large_results = 0
        """Number of operations whose result schema was left out for its size."""
