#!/usr/bin/env bash
# A private schema registry on 127.0.0.1: Apicurio from Maven Central, by its Confluent API. It keeps schemas in memory.
#   registry.sh start          up and answering when it returns; a second start is free
#   registry.sh url            for clients
#   registry.sh register SUBJECT FILE.json   a JSON Schema, for a subject (TOPIC-value); a second time is free
#   registry.sh stop           also a frozen one; twice is fine. Its schemas are gone
#   registry.sh wipe           kills it, also a frozen one, and removes its files
# REGISTRY_PORT (28081) and REGISTRY_MANAGEMENT_PORT (28082, /health and /metrics): 0 picks a free one and keeps it;
# REGISTRY_VERSION, REGISTRY_HEAP (512m), INFRA_CACHE (where the program is kept),
# REGISTRY_WIPE_IDLE (seconds: wiped by itself once nobody has held a shared flock on $INFRA_STATE/users for so long)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/java.sh"

self=$(realpath "$0") version=${REGISTRY_VERSION:-3.3.3} heap=${REGISTRY_HEAP:-512m}
dir=$INFRA_STATE/registry app=$INFRA_CACHE/apicurio-registry-$version
pidfile=$dir/pid logfile=$dir/log

port() { kept_port "$dir/port" "${REGISTRY_PORT:-}" 28081; }
url() { echo "http://127.0.0.1:$(port)/apis/ccompat/v7"; }

choose_ports() { # notes those that the folder does not have yet
  local port management
  port=$(new_port "$dir/port" "${REGISTRY_PORT:-}" 28081)
  management=$(new_port "$dir/management.port" "${REGISTRY_MANAGEMENT_PORT:-${REGISTRY_PORT:+0}}" 28082)
  echo "$port" >"$dir/port"
  echo "$management" >"$dir/management.port"
}

launch() {
  choose_ports
  : >"$logfile"
  # The management port would be 9000 of every address.
  QUARKUS_HTTP_HOST=127.0.0.1 QUARKUS_HTTP_PORT=$(<"$dir/port") \
    QUARKUS_MANAGEMENT_HOST=127.0.0.1 QUARKUS_MANAGEMENT_PORT=$(<"$dir/management.port") \
    APICURIO_STORAGE_KIND=sql APICURIO_STORAGE_SQL_KIND=h2 \
    daemon "$pidfile" "$logfile" "$home/bin/java" "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -XX:-UsePerfData "-Djava.io.tmpdir=$dir" -jar "$app/quarkus-run.jar"
  # Its own word, since an answer could be another's that has the port.
  await 180 "$pidfile" grep -q 'Listening on: ' "$logfile"
}

start() {
  local fresh=
  home=$(java_home 21 java)
  [ -n "$home" ] || die "no Java 21 or newer found: install the package openjdk-21-jre-headless, or any other Java, and name its folder by JAVA_HOME"
  fetch_archive "$app" "io.apicurio:apicurio-registry-app:$version:tar.gz:all"
  lock registry
  if [ -n "${REGISTRY_WIPE_IDLE:-}" ]; then setsid "$self" watch "$REGISTRY_WIPE_IDLE" </dev/null >/dev/null 2>&1 9>&- & fi
  ! alive "$pidfile" >/dev/null || { log "already up: $(url)"; return; }
  mkdir -p "$dir"
  cd "$dir"
  [ -s "$dir/port" ] || fresh=1
  [ "${REGISTRY_PORT:-}${fresh}" = 01 ] || ! port_busy "$(port)" ||
    die "port $(port) is taken by another process: set REGISTRY_PORT"
  for _ in {1..5}; do # another server may take a port before ours has it
    launch && break
    kill_daemon "$pidfile"
    if [ -z "$fresh" ] || ! grep -q 'in use by another process' "$logfile"; then break; fi
    rm -f "$dir"/*port
  done
  alive "$pidfile" >/dev/null || { tail -n 30 "$logfile" >&2; die "it did not start; log: $logfile"; }
  log "Apicurio Registry $version: $(url) (pid $(alive "$pidfile"))"
}

register() { # register SUBJECT FILE
  need curl
  local schema answer
  schema=$(sed 's/\\/\\\\/g; s/"/\\"/g' "$2" | tr '\n\t' '  ')
  answer=$(curl --silent --show-error --noproxy '*' --max-time 30 --write-out '\n%{http_code}' \
    --header 'Content-Type: application/vnd.schemaregistry.v1+json' \
    --data "{\"schemaType\":\"JSON\",\"schema\":\"$schema\"}" "$(url)/subjects/$1/versions") ||
    die "cannot register $2: is the registry up?"
  [ "${answer##*$'\n'}" = 200 ] || die "$2 was not registered for $1: $answer"
}

wipe() {
  lock registry
  kill_daemon "$pidfile"
  rm -rf "$dir"
}

case ${1:-} in
  start) start ;;
  url) url ;;
  register) register "$2" "$3" ;;
  stop) lock registry; stop_daemon "$pidfile" 20 ;;
  wipe) cd /; wipe ;;
  watch) watch_idle registry "$2" ;;
  *) sed -n '2,/^\. /{/^#/p}' "$0"; exit 2 ;;
esac
