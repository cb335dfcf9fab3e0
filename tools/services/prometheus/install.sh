#!/usr/bin/env bash
# Install prometheus and promtool from Debian's package, unpacked: no service of the machine is set up or started.
# Prints the programs' folder. What is there is left alone.
set -euo pipefail
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/prometheus
mkdir -p "$root"
exec 9>"$root/.prometheus.lock"
flock 9
if [[ ! -x $dest/usr/bin/promtool ]]; then
  tmp=$(mktemp -d "$root/.prometheus.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  (cd "$tmp" && { apt-get download prometheus || { apt-get update -qq && apt-get download prometheus; }; } &&
    dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb) >&2
  "$tmp/usr/bin/promtool" --version >&2
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest/usr/bin"
