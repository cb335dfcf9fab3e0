#!/usr/bin/env bash
# Install Jaeger, without its user interface, from Go modules; needs go 1.26 or newer. Prints the program's folder.
# Takes four minutes of computing time. What is there is left alone.
set -euo pipefail
version=v1.76.0 # the module's version of the image's 2.13.0
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/jaeger
mkdir -p "$root"
exec 9>"$root/.jaeger.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$version" ]]; then
  tmp=$(mktemp -d "$root/.jaeger.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mkdir "$tmp/src"
  printf 'module stoa.test/jaeger\n\ngo 1.26.0\n' >"$tmp/src/go.mod"
  (cd "$tmp/src" && export CGO_ENABLED=0 GOTOOLCHAIN=local GOGC=400 &&
    go get -tool "github.com/jaegertracing/jaeger/cmd/jaeger@$version" &&
    go build -mod=mod -trimpath -gcflags=all=-dwarf=false -ldflags='-s -w' -o ../bin/jaeger \
      github.com/jaegertracing/jaeger/cmd/jaeger) >&2
  rm -rf "$tmp/src"
  "$tmp/bin/jaeger" version >&2
  printf '%s\n' "$version" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest/bin"
