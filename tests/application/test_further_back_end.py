"""A further back end, whole: text files that a Tool or a ToolSet names, served by the gateway like any other operation.

docs/how-to-add-a-back-end.md asks for it: a binding, members of both manifests, a ToolBackend, a SpecKind.
"""

import pickle
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from stoa.application.gateway import Gateway
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import (
    BindingManifest,
    Conversion,
    ConversionOptions,
    NamedByManifests,
    SourceManifest,
    SpecConverter,
    SpecDocument,
    SpecKind,
    SpecPlace,
    ToolBackend,
)
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput, NotPermitted
from stoa.domain.operations.access import Access, MethodProperties
from stoa.domain.operations.binding import Binding
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import TextContent, ToolResult
from stoa.infrastructure.worker_process import ProcessExecutor
from stoa.infrastructure.worker_process.wire import items_of

ANN = Principal.of("ann", roles=["viewer"])


class TextBinding(Binding):
    """One text file below the back end's folder."""

    kind: Literal["text"] = "text"
    file: str
    destroys: bool = False

    @property
    def method_properties(self) -> MethodProperties:
        return MethodProperties(Access.ADMIN if self.destroys else Access.READ, is_idempotent=True)


class TextManifest(BindingManifest):
    """`spec.text` of a Tool."""

    member: ClassVar[str] = "text"
    file: str

    def to_binding(self, input_schema):
        if "/" in self.file:
            raise InvalidInput("spec.text.file: write a name, not a path")
        return TextBinding(file=self.file)


class TextBackend(ToolBackend, NamedByManifests):
    kind = "text"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self):
        return TextManifest

    def prepare(self, tool):
        async def call(arguments, context):
            return ToolResult((TextContent((self._folder / tool.binding.file).read_text()),))

        return call

    async def close(self) -> None:
        pass


class TextSource(SourceManifest):
    """`spec.textFolder` of a ToolSet: a live folder, which is listed."""

    folder: str
    suffix: str = ""

    @property
    def address(self) -> str:
        return f"folder:{self.folder}"


class Listing(SpecConverter):
    """A tool for each line of a listing of files."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        made = (
            Tool(name=Path(name).stem, tenant=options.tenant, binding=TextBinding(file=name))
            for name in document.text.splitlines()
            if name.endswith(self.suffix)
        )
        return Conversion(tuple(made))


class TextKind(SpecKind[TextSource]):
    member = "textFolder"
    manifest = TextSource

    def __init__(self, root: Path) -> None:
        self._root = root
        self.places: list[SpecPlace] = []

    def accepts(self, location, text):
        return location.startswith("folder:")

    def source_at(self, location):
        return TextSource(folder=location.removeprefix("folder:"))

    async def fetch(self, source, place):
        self.places.append(place)
        names = sorted(file.name for file in (self._root / source.folder).iterdir())
        return SpecDocument(source.address, "\n".join(names), "text/plain")

    def converter(self, source):
        return Listing(source.suffix)


def manifest(kind, **spec):
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "greeting"}, "spec": spec}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hello.txt").write_text("hello")
    (tmp_path / "notes.md").write_text("# notes")
    return tmp_path


def gateway_of(folder, **parts):
    return Gateway(backends=[TextBackend(folder)], spec_kinds=[TextKind(folder)], **parts)


async def test_back_end_of_a_further_kind_serves_a_tool_that_a_manifest_describes(folder):
    sink = InMemoryMeteringSink()
    gateway = gateway_of(folder, sink=sink)
    assert await gateway.add_manifest(manifest("Tool", text={"file": "hello.txt"})) == []
    outcome = await gateway.invoke("greeting", {}, ANN)
    assert outcome.result.content == (TextContent("hello"),)
    assert [event.tool for event in sink.events()] == ["greeting"]


@pytest.mark.parametrize("is_in_worker_process", [False, True])
async def test_tool_set_of_a_further_kind_comes_from_a_live_source_with_its_own_options(folder, is_in_worker_process):
    executor = ProcessExecutor() if is_in_worker_process else None
    gateway = gateway_of(folder, executor=executor)
    authentication = {"type": "bearer", "secretRef": {"name": "folders"}}
    content = manifest(
        "ToolSet", textFolder={"folder": ".", "suffix": ".txt"}, toolDefaults={"authentication": authentication}
    )
    assert await gateway.add_manifest(content, tenant="acme") == []
    if executor is not None:
        await executor.close()
    tenants_ann = Principal.of("ann", roles=["viewer"], tenant="acme")
    outcome = await gateway.invoke("hello", {}, tenants_ann)
    assert outcome.result.content == (TextContent("hello"),)
    assert [tool.name for tool in gateway.registry.catalogue.view("acme") if tool.kind == "tool"] == ["hello"]
    (place,) = gateway.specs["textFolder"].places
    assert (place.tenant, place.authentication.secret.name) == ("acme", "folders")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (manifest("Tool"), "spec.endpoint: set exactly one of endpoint, text"),
        (manifest("Tool", text={}), "spec.text.file: Field required"),
        (manifest("Tool", text={"File": "a"}), "spec.text.File: no such field; did you mean file?"),
        (manifest("Tool", text={"file": "a/b"}), "spec.text.file: write a name, not a path"),
        (manifest("Tool", text={"file": "a"}, endpoint="https://a.example"), "spec.endpoint: is for HTTP"),
        (manifest("Tool", text={"file": "a"}, method="GET"), "spec.method: is for HTTP"),
        (manifest("Tool", grpc={}), "spec.grpc: no such field"),
        (manifest("ToolSet"), "spec.textFolder: this field is required"),
        (manifest("ToolSet", textfolder={"folder": "."}), "spec.textfolder: no such field; did you mean textFolder?"),
        (manifest("ToolSet", textFolder={"folder": 5}), "spec.textFolder.folder: Input should be a valid string"),
    ],
)
async def test_members_of_further_kinds_are_checked_and_named(folder, content, message):
    with pytest.raises(InvalidInput) as refused:
        await gateway_of(folder).add_manifest(content)
    assert message in refused.value.message


async def test_tool_set_has_one_source(folder):
    kinds = [TextKind(folder), DocumentSpecKind("openAPISpec", Listing(""))]
    gateway = Gateway(backends=[TextBackend(folder)], spec_kinds=kinds)
    with pytest.raises(InvalidInput, match=r"spec\.openAPISpec: set exactly one of textFolder and openAPISpec"):
        await gateway.add_manifest(manifest("ToolSet", textFolder={"folder": "."}, openAPISpec={"inline": ""}))


async def test_kinds_that_claim_one_member_are_refused(folder):
    with pytest.raises(InvalidInput, match="spec kinds: each needs a member of its own"):
        Gateway(spec_kinds=[TextKind(folder), TextKind(folder)])


async def test_binding_kind_demands_the_access_of_its_protocol_whatever_the_tool_says(folder):
    gateway = gateway_of(folder)
    binding = TextBinding(file="hello.txt", destroys=True)
    tool = Tool(name="erase", tenant="acme", binding=binding, tags=("stoa:read",))
    gateway.add(tool)
    assert (tool.access, tool.hints.destructive_hint, tool.hints.idempotent_hint) == (Access.ADMIN, True, True)
    outcome = await gateway.invoke("erase", {}, Principal.of("ann", roles=["viewer"], tenant="acme"))
    assert isinstance(outcome.error, NotPermitted)


def test_binding_kind_has_a_json_form_a_fingerprint_and_arrives_from_the_worker_process():
    tool = Tool(name="a", binding=TextBinding(file="a.txt"))
    assert Tool.model_validate(tool.model_dump()) == tool
    assert tool.fingerprint != Tool(name="a", binding=TextBinding(file="b.txt")).fingerprint
    (arrived,) = items_of(pickle.dumps(tool))
    assert arrived == tool


def test_binding_kind_is_not_taken_by_a_second_model():
    with pytest.raises(TypeError, match=r"TextBinding is the binding of kind text"):

        class _Other(Binding):
            kind: Literal["text"] = "text"


def test_values_of_modules_that_are_not_loaded_are_not_imported_for_the_worker_process():
    body = pickle.dumps(TextBinding(file="a")).replace(__name__.encode(), b"x" * len(__name__))
    with pytest.raises(pickle.UnpicklingError, match="is no value"):
        list(items_of(body))


async def test_description_is_recognised_by_its_address_or_else_by_its_text(folder):
    documents = InMemorySpecSource({"pets.json": "{}"})
    kinds = SpecKinds([DocumentSpecKind("openAPISpec", Listing("")), TextKind(folder)], documents)
    live = await kinds.recognise("folder:.")
    assert (live.kind.member, live.document) == ("textFolder", None)
    content = live.tool_set("texts")
    assert content["spec"] == {"textFolder": live.source.model_dump(by_alias=True, exclude_unset=True)}
    document = await kinds["textFolder"].fetch(live.source, None)
    assert document.text == "hello.txt\nnotes.md"
    read = await kinds.recognise("pets.json")
    assert (read.kind.member, read.document.text) == ("openAPISpec", "{}")
    with pytest.raises(InvalidInput, match="no kind of API description is installed"):
        await SpecKinds([], documents).recognise("pets.json")
