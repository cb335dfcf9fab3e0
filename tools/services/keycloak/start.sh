#!/usr/bin/env bash
# Run one Keycloak in the foreground; the caller's PID is the server's.
#
# Usage: start.sh DATA_DIR HTTP_PORT MANAGEMENT_PORT [REALM_JSON ...]
#   DATA_DIR    holds the H2 database; used again after a stop or a kill
#   REALM_JSON  realms to import when DATA_DIR does not have them yet
#               (default: the realm in deploy/keycloak)
# Stop: SIGTERM. Ready: GET http://127.0.0.1:MANAGEMENT_PORT/health/ready answers 200.
# Environment: KEYCLOAK_JVM (default "-Xms64m -Xmx512m -XX:TieredStopAtLevel=1"),
#   KC_BOOTSTRAP_ADMIN_USERNAME and KC_BOOTSTRAP_ADMIN_PASSWORD (default admin, admin),
#   JAVA_HOME, STOA_SERVICES_DIR.
set -euo pipefail

if (( $# < 3 )); then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dist=${STOA_SERVICES_DIR:-$HOME/.cache/stoa-services}/keycloak
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
mkdir -p "$1"
home=$(cd "$1" && pwd)
http_port=$2 management_port=$3
shift 3
if (( $# == 0 )); then set -- "$here/../../../deploy/keycloak/stoa-realm.json"; fi

# Keycloak writes below its home: give each DATA_DIR a home of its own that
# borrows the installed parts.
for part in lib conf providers themes; do ln -sfn "$dist/$part" "$home/$part"; done
rm -rf "$home/data/import"
mkdir -p "$home/data/import"
cp "$@" "$home/data/import/"

export KC_BOOTSTRAP_ADMIN_USERNAME=${KC_BOOTSTRAP_ADMIN_USERNAME:-admin}
export KC_BOOTSTRAP_ADMIN_PASSWORD=${KC_BOOTSTRAP_ADMIN_PASSWORD:-admin}

# bin/kc.sh runs java as a child, which survives a kill -9 of the script; the
# options below are those that kc.sh passes.
jvm=(-XX:+UseSerialGC -XX:MaxMetaspaceSize=256m -XX:+ExitOnOutOfMemoryError
     -Dfile.encoding=UTF-8 -Duser.language=en -Duser.country=US
     --add-opens=java.base/java.util=ALL-UNNAMED
     --add-opens=java.base/java.util.concurrent=ALL-UNNAMED
     --add-opens=java.base/java.security=ALL-UNNAMED
     --add-opens=java.base/java.lang=ALL-UNNAMED
     --enable-native-access=ALL-UNNAMED
     -Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory
     -Djava.util.logging.manager=org.jboss.logmanager.LogManager
     -Dpicocli.disable.closures=true
     -Dkc.home.dir="$home" -Djboss.server.config.dir="$home/conf"
     -cp "$dist/lib/quarkus-run.jar")

# WRITE_DELAY=0: a kill -9 loses nothing that was answered (H2's default: 0.5 s).
# shellcheck disable=SC2086  # KEYCLOAK_JVM holds several words
exec "$java" ${KEYCLOAK_JVM:--Xms64m -Xmx512m -XX:TieredStopAtLevel=1} "${jvm[@]}" \
  io.quarkus.bootstrap.runner.QuarkusEntryPoint start --optimized --import-realm \
  --http-enabled=true --http-host=127.0.0.1 --http-port="$http_port" \
  --http-management-port="$management_port" \
  --hostname="http://127.0.0.1:$http_port" --cache=local \
  --db-url-properties=';NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0' \
  --log-level=info,io.smallrye.health:error
