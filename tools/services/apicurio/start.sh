#!/usr/bin/env bash
# Run Apicurio Registry on 127.0.0.1, in memory. Confluent's API is below /apis/ccompat/v7.
#
# Usage: start.sh PORT
set -euo pipefail
dist=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/apicurio
export QUARKUS_HTTP_HOST=127.0.0.1 QUARKUS_HTTP_PORT=$1
# The C1 compiler alone halves the time of a start.
exec java -Xms64m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -jar "$dist"/apicurio-registry-app-*-runner.jar
