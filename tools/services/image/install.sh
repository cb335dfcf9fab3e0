#!/usr/bin/env bash
# Make the Dockerfile's base image from Debian's packages, where no registry of images can be reached: Python 3.11, pip
# and certificates on a minimal system. Prints the archive. Needs root and debootstrap. What is there is left alone.
set -euo pipefail
suite=bookworm
packages=python3,python3-venv,python3-pip,ca-certificates
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/image-base
mkdir -p "$root"
exec 9>"$root/.image-base.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$suite $packages" ]]; then
  tmp=$(mktemp -d "$root/.image-base.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  debootstrap --variant=minbase --include="$packages" "$suite" "$tmp/base" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >&2
  rm -rf "$tmp"/base/var/cache/apt/*.bin "$tmp"/base/var/cache/apt/archives/*.deb "$tmp"/base/var/lib/apt/lists/* \
    "$tmp"/base/usr/share/{doc,man,locale}
  tar -C "$tmp/base" -cf "$tmp/base.tar" .
  rm -rf "$tmp/base"
  printf '%s\n' "$suite $packages" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest/base.tar"
