#!/usr/bin/env bash
# Fetch the CRDs of Gateway API and of the Prometheus Operator, as their Go modules carry them, for an API server that
# shall know HTTPRoute, ServiceMonitor and PrometheusRule. Prints their folder. Needs go. What is there is left alone.
set -euo pipefail
modules='sigs.k8s.io/gateway-api@v1.5.1 config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml'
root=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}
dest=$root/kubernetes-crds
mkdir -p "$root"
exec 9>"$root/.kubernetes-crds.lock"
flock 9
if [[ ! -f $dest/.stamp || $(<"$dest/.stamp") != "$modules" ]]; then
  tmp=$(mktemp -d "$root/.kubernetes-crds.tmp.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  while read -r module path; do
    folder=$(cd "$tmp" && GOFLAGS=-mod=mod GOTOOLCHAIN=local go mod download -json "$module" |
      python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
    install -m 644 "$folder/$path" "$tmp/"
  done <<<"$modules"
  printf '%s\n' "$modules" >"$tmp/.stamp"
  chmod 755 "$tmp"
  rm -rf "$dest"
  mv -T "$tmp" "$dest"
fi
printf '%s\n' "$dest"
