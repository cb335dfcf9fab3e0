#!/usr/bin/env bash
# Install Apicurio Registry, which serves Confluent's API of schema registries, from Maven Central.
#
# Usage: install.sh
# Installs into ${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/apicurio and prints that folder. Does nothing when the
# version that pom.xml names is there. Needs: java 11 or newer, mvn, flock.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/apicurio
stamp=$(sha256sum <"$here/pom.xml")

mkdir -p "$root"
exec 9>"$root/.apicurio.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$stamp" ]]; then
  rm -rf "$root"/.apicurio.tmp.*
  tmp=$(mktemp -d "$root/.apicurio.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mvn -B -q -f "$here/pom.xml" package -Ddist="$tmp" >&2
  printf '%s\n' "$stamp" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest"
