#!/usr/bin/env bash
# Build etcd from the Go module proxy, with the .proto files that describe its services (protos/).
#
# Usage: install.sh
# Installs into ${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/etcd and prints that folder. Does nothing when what
# go.mod pins is there. Needs: go 1.26 or newer, flock.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/etcd
stamp=$(cat "$here/go.mod" "$here/go.sum" "${BASH_SOURCE[0]}" | sha256sum)

mkdir -p "$root"
exec 9>"$root/.etcd.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$stamp" ]]; then
  rm -rf "$root"/.etcd.tmp.*
  tmp=$(mktemp -d "$root/.etcd.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  build() { # PROGRAM PACKAGE
    (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off GOGC=400 \
      go build -buildvcs=false -trimpath -gcflags='all=-N -l -dwarf=false' -ldflags='-s -w' -o "$tmp/bin/$1" "$2" >&2)
  }
  build etcd go.etcd.io/etcd/server/v3
  "$tmp/bin/etcd" --version >&2
  module() { (cd "$here" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off go list -m -f '{{.Dir}}' "$1"); }
  etcd=$(module go.etcd.io/etcd/api/v3) gateway=$(module github.com/grpc-ecosystem/grpc-gateway/v2)
  mkdir -p "$tmp/protos/etcd/api" "$tmp/protos/protoc-gen-openapiv2/options"
  for package in authpb etcdserverpb mvccpb versionpb; do
    install -D -m 644 -t "$tmp/protos/etcd/api/$package" "$etcd/$package"/*.proto
  done
  install -m 644 -t "$tmp/protos/protoc-gen-openapiv2/options" "$gateway"/protoc-gen-openapiv2/options/*.proto
  printf '%s\n' "$stamp" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest"
