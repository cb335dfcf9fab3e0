# Every target works on a fresh machine with Python 3.11+, make and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install run test live lint check nightly conformance clients docs reference crds pictures changelog policy image manifests bench ratio converter-score laws fuzz soak mutants lock clean

install: $(VENV)/.installed

# The stamp is made only after both steps succeeded, so an interrupted install starts over.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV), once; this takes one to five minutes and prints nothing."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --require-hashes --no-deps --only-binary :all: --no-binary flasgger -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

run: install
	$(BIN)/stoa demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not live and not clients"

# The tests that need real servers; each says what is missing where one is.
live: install
	$(BIN)/python -m pytest -m live

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

check: lint test

# The official MCP conformance suite, against a gateway and through one; npm brings it and the Node it needs.
conformance: install
	$(BIN)/python tests/conformance/run.py
	$(BIN)/python tests/conformance/run.py --proxied

# The official TypeScript clients and the MCP inspector against real gateways; npm brings them and their Node.
clients: install
	$(BIN)/python -m pytest -m clients tests/e2e

# The documentation site in var/site, with warnings as errors. Its tools have an environment of their own, made once.
docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

.venv-docs/.installed: pyproject.toml
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install -qq --upgrade 'pip>=25.1'
	@.venv-docs/bin/python -m pip install -qq --group docs
	@touch $@

# The reference pages of docs that are generated from the code.
reference: install
	$(BIN)/python -m tools.docs.reference

# The CustomResourceDefinitions in deploy/crds, of the back ends that are installed.
crds: install
	$(BIN)/stoa crds --output deploy/crds

# The pictures of README; one shows what `stoa demo` prints, so port 8080 must be free.
pictures: install
	$(BIN)/python -m tools.docs.pictures

# Moves the fragments of changelog.d into CHANGELOG.md.
changelog: install
	$(BIN)/python -m tools.docs.changelog

# Compiles the default policy; needs opa (tools/services/install.sh opa). The same sources give the same bytes.
policy:
	tools/services/opa/build.sh infrastructure/stoa/infrastructure/opa/policies \
		infrastructure/stoa/infrastructure/opa/default_bundle.tar.gz stoa/authz/decision stoa/visibility/visible
	cd infrastructure/stoa/infrastructure/opa && sha256sum default_bundle.tar.gz >default_bundle.tar.gz.sha256

# The container image; docker, or IMAGE_TOOL=podman or buildah. The commit decides its labels, so the same commit gives the same.
IMAGE ?= stoa-mcp-gateway:0.1.0
IMAGE_TOOL ?= docker
image:
	$(IMAGE_TOOL) build --tag $(IMAGE) --build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) \
		--build-arg REVISION=$$(git rev-parse HEAD) \
		--build-arg CREATED=$$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ) $(IMAGE_FLAGS) .

# The plain manifests of deploy/kustomize, rendered from the chart; needs helm (tools/services/install.sh kubernetes).
manifests: install
	$(BIN)/python -m tools.deploy.manifests

# The gateway beside a bare pass-through, a Go bridge and FastMCP; needs nginx and wrk. About two minutes.
bench: install
	$(BIN)/python -m bench

# What a governed call takes against a bare one, counted and not timed; fails when it has grown. Needs valgrind.
ratio: install
	$(BIN)/python -m bench ratio

# This converter against real API descriptions, judged by programs and a decoder of others; they stand beside the checkout
# (STOA_SHARED), and without them there is nothing to do. SCORE=--small takes a minute, as in CI; all documents take long.
SCORE ?=
converter-score: install .venv-converter/.installed
	$(BIN)/python -m tools.quality.converter_score $(SCORE)

# The decoder, in a folder of its own that comes last on the path, so that the packages of the gateway stay as they are.
.venv-converter/.installed: Makefile
	@$(BIN)/python -m pip install -qq --upgrade --target .venv-converter 'openapi-core>=0.23'
	@touch $@

# A million mutated requests against a running gateway; about fifteen minutes.
fuzz: install
	$(BIN)/python -m tools.quality.fuzz --requests 1000000

# A hostile tenant beside an honest one, for five minutes.
soak: install
	$(BIN)/python -m tools.quality.soak --seconds 300

# What takes too long for every change: all documents, the laws of what is shown of them, the fuzzer and the soak test.
nightly: converter-score laws fuzz soak

laws: install
	STOA_EVERY_DOCUMENT=1 $(BIN)/python -m pytest -q --timeout 900 tests/infrastructure/openapi/test_portable_laws.py

# Mutation testing (the dependency group `mutation`, which no other target needs); hours.
mutants: install
	$(BIN)/python -m pip install --quiet 'mutmut>=3.8'
	$(BIN)/python -m tools.quality.mutants domain/stoa/domain --tests tests/domain
	$(BIN)/python -m tools.quality.mutants application/stoa/application --tests tests/application --functions

# Rewrites the lock files for all supported Python versions: of development, and of the image. Needs uv (any recent version).
LOCK_FLAGS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet
lock:
	uv pip compile pyproject.toml --extra all --group dev $(LOCK_FLAGS) -o requirements.lock
	uv pip compile pyproject.toml --extra all --constraints requirements.lock $(LOCK_FLAGS) -o deploy/image/requirements.lock
	uv pip compile --group build --constraints requirements.lock $(LOCK_FLAGS) -o deploy/image/build.lock

clean:
	rm -rf $(VENV) .venv-docs .venv-converter var .pytest_cache .mypy_cache .ruff_cache .hypothesis
