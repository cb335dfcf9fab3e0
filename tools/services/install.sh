#!/usr/bin/env bash
# Install the servers that the live tests run against; what is there is left alone.
#
# Usage: install.sh NAME...        (opa, keycloak, redis)
# Needs the package registries, and Go 1.26 or newer for opa; Java and Maven (keycloak) and redis-server come from
# Debian's packages where they are missing and this runs as root.
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

for name; do
  case $name in
    opa) "$here/opa/install.sh" ;;
    keycloak)
      packages java openjdk-17-jre-headless
      packages mvn maven
      "$here/keycloak/install.sh"
      ;;
    redis) packages redis-server redis-server ;;
    *)
      echo "unknown server: $name" >&2
      exit 2
      ;;
  esac
done
