#!/usr/bin/env bash
# Install docker compose, for `docker-compose config`, which needs no Docker daemon. Prints the program's folder.
# Built from Go modules; needs go 1.26 or newer. What is there is left alone.
set -euo pipefail
version=v5.6.0
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/compose
mkdir -p "$root"
exec 9>"$root/.compose.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$version" ]]; then
  tmp=$(mktemp -d "$root/.compose.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mkdir "$tmp/src"
  printf 'module stoa.test/compose\n\ngo 1.26.0\n' >"$tmp/src/go.mod"
  (cd "$tmp/src" && export CGO_ENABLED=0 GOTOOLCHAIN=local GOGC=400 &&
    go get "github.com/docker/compose/v5@$version" &&
    go build -mod=mod -trimpath -gcflags=all=-dwarf=false -o ../bin/docker-compose \
      -ldflags="-s -w -X github.com/docker/compose/v5/internal.Version=$version" github.com/docker/compose/v5/cmd) >&2
  rm -rf "$tmp/src"
  "$tmp/bin/docker-compose" version >&2
  printf '%s\n' "$version" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest/bin"
