#!/usr/bin/env bash
# Build gRPC servers by others from the Go module proxy: grpc-go's interop server, and two of its examples.
#
# Usage: install.sh
# Installs into ${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/grpc and prints that folder. Does nothing when what
# go.mod pins is there. Needs: go 1.26 or newer, flock.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/grpc
stamp=$(cat "$here/go.mod" "$here/go.sum" "${BASH_SOURCE[0]}" | sha256sum)

mkdir -p "$root"
exec 9>"$root/.grpc.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$stamp" ]]; then
  rm -rf "$root"/.grpc.tmp.*
  tmp=$(mktemp -d "$root/.grpc.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  build() { # PROGRAM PACKAGE
    (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off GOGC=400 \
      go build -buildvcs=false -trimpath -gcflags='all=-N -l -dwarf=false' -ldflags='-s -w' -o "$tmp/bin/$1" "$2" >&2)
  }
  build interop google.golang.org/grpc/interop/server
  build reflection google.golang.org/grpc/examples/features/reflection/server
  build error_details google.golang.org/grpc/examples/features/error_details/server
  printf '%s\n' "$stamp" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest"
