# The gateway's image: `make image`, or `docker build .`. Two stages, one base; nothing that builds is in the result.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What the gateway needs, by the lock file's versions and hashes, and in another environment what builds it.
COPY deploy/image/*.lock ./
RUN python3 -m venv --without-pip /opt/stoa \
    && python3 -m pip --python /opt/stoa/bin/python install --require-hashes --no-deps --only-binary :all: \
        -r requirements.lock \
    && python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --require-hashes --no-deps --only-binary :all: -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY application application
COPY infrastructure infrastructure
COPY interfaces interfaces
# Compiled here, because the root file system may be read-only; by hash, so that the same sources give the same files.
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python3 -m pip --python /opt/stoa/bin/python install --no-deps /wheels/*.whl \
    && find /opt/stoa \( -name tests -o -name test \) -type d -path '*/site-packages/*' -prune -exec rm -rf {} + \
    && /opt/stoa/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/stoa/lib \
    # 22 MB of it are read with a kubeconfig alone, in 2 s more; in a pod the gateway does without.
    && find /opt/stoa/lib -path '*/kubernetes_asyncio/client/*' -name __pycache__ -prune -exec rm -rf {} + \
    && mkdir -p /usr/share/stoa/policies \
    && cp infrastructure/stoa/infrastructure/opa/policies/*.rego /usr/share/stoa/policies/ \
    && rm -f /usr/share/stoa/policies/*_test.rego

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="STOA MCP Gateway" \
      org.opencontainers.image.description="Open API-to-MCP gateway: APIs become governed Model Context Protocol tools" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# The data folder's parent belongs to the gateway; the folder itself it makes for itself alone.
RUN groupadd --gid 10001 stoa \
    && useradd --uid 10001 --gid stoa --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin stoa \
    && install --directory --owner stoa --group stoa --mode 0750 /var/lib/stoa
COPY --from=build /opt/stoa /opt/stoa
COPY --from=build /usr/share/stoa /usr/share/stoa
COPY deploy/image/healthcheck.py /usr/share/stoa/healthcheck.py
ENV PATH=/opt/stoa/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    ENVIRONMENT=prod \
    DATA_DIR=/var/lib/stoa/data
VOLUME /var/lib/stoa
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "/usr/share/stoa/healthcheck.py"]
ENTRYPOINT ["stoa"]
CMD ["serve"]
