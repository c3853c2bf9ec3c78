#!/usr/bin/env bash
# A private Kafka Connect (distributed, one worker) on 127.0.0.1 with Debezium's connector for Postgres, from Maven
# Central. Its sources write exactly once: what they have polled and how far they have come is one transaction.
#   connect.sh start           up and answering when it returns; a second start is free. Its Kafka must be up
#   connect.sh put NAME FILE   creates or changes a connector by a file of JSON; it runs when this returns
#   connect.sh delete NAME     removes a connector. Debezium's slot stays in its Postgres
#   connect.sh url             of its REST interface
#   connect.sh stop            also a frozen one; twice is fine
#   connect.sh wipe            kills it, also a frozen one, and removes its files. Its topics stay in Kafka
# CONNECT_PORT (28083): 0 picks a free one and keeps it; CONNECT_KAFKA (127.0.0.1:29092), CONNECT_GROUP (connect: no two
# on one Kafka may have the same), CONNECT_HEAP (512m), KAFKA_VERSION, DEBEZIUM_VERSION, INFRA_CACHE (where the programs
# are kept), CONNECT_WIPE_IDLE (seconds: wiped by itself once nobody has held a shared flock on $INFRA_STATE/users for so long)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/java.sh"

self=$(realpath "$0") version=${KAFKA_VERSION:-4.3.1} debezium=${DEBEZIUM_VERSION:-3.7.0.Final}
kafka=${CONNECT_KAFKA:-127.0.0.1:29092} group=${CONNECT_GROUP:-connect} heap=${CONNECT_HEAP:-512m}
dir=$INFRA_STATE/connect jars=$INFRA_CACHE/connect-$version plugins=$INFRA_CACHE/debezium-$debezium
pidfile=$dir/pid logfile=$dir/log

port() { kept_port "$dir/port" "${CONNECT_PORT:-}" 28083; }
url() { echo "http://127.0.0.1:$(port)"; }
ask() { curl --silent --show-error --noproxy '*' --max-time 90 "$@"; }

configure() {
  # The session is short because a killed worker's must run out before the next one has its connectors.
  cat <<CONF
bootstrap.servers=$kafka
group.id=$group
session.timeout.ms=6000
heartbeat.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
listeners=$(url)
rest.advertised.host.name=127.0.0.1
rest.advertised.port=$(port)
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=false
config.storage.topic=$group-configs
offset.storage.topic=$group-offsets
status.storage.topic=$group-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
offset.storage.partitions=4
status.storage.replication.factor=1
status.storage.partitions=1
exactly.once.source.support=enabled
plugin.path=$plugins
plugin.discovery=service_load
CONF
}

launch() {
  new_port "$dir/port" "${CONNECT_PORT:-}" 28083 >"$dir/port.new"
  mv "$dir/port.new" "$dir/port"
  configure >"$dir/worker.properties"
  : >"$logfile"
  daemon "$pidfile" "$logfile" "$home/bin/java" "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
    -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$jars/*" \
    org.apache.kafka.connect.cli.ConnectDistributed "$dir/worker.properties"
  # Its own word, since an answer could be another's that has the port.
  await 180 "$pidfile" grep -q 'Finished starting connectors and tasks' "$logfile"
}

start() {
  local fresh=
  need curl
  home=$(java_home 17 java)
  [ -n "$home" ] || die "no Java 17 or newer found: install the package openjdk-17-jre-headless"
  # slf4j 2 does not bind to the API that Kafka brings.
  fetch_jars "$jars" "org.apache.kafka:connect-runtime:$version" "org.apache.kafka:connect-json:$version" \
    org.slf4j:slf4j-simple:1.7.36
  # Below the plugins' path each has a folder. Its jars one by one, as the archive of all comes without a checksum.
  mkdir -p "$plugins"
  fetch_jars "$plugins/postgres" "io.debezium:debezium-connector-postgres:$debezium"
  lock connect
  if [ -n "${CONNECT_WIPE_IDLE:-}" ]; then setsid "$self" watch "$CONNECT_WIPE_IDLE" </dev/null >/dev/null 2>&1 9>&- & fi
  ! alive "$pidfile" >/dev/null || { log "already up: $(url)"; return; }
  mkdir -p "$dir"
  [ -s "$dir/port" ] || fresh=1
  [ "${CONNECT_PORT:-}${fresh}" = 01 ] || ! port_busy "$(port)" ||
    die "port $(port) is taken by another process: set CONNECT_PORT"
  for _ in {1..5}; do # another server may take a port before ours has it
    launch && break
    kill_daemon "$pidfile"
    if [ -z "$fresh" ] || ! grep -q 'Address already in use' "$logfile"; then break; fi
    rm -f "$dir/port"
  done
  alive "$pidfile" >/dev/null || { grep -v ' INFO ' "$logfile" | tail -n 30 >&2; die "it did not start; log: $logfile"; }
  log "Kafka Connect $version with Debezium $debezium: $(url) (pid $(alive "$pidfile"))"
}

runs() { # runs NAME: the connector and each of its tasks, of which there is at least one
  local states
  states=$(ask --fail "$(url)/connectors/$1/status" | grep -o '"state":"[A-Z]*"')
  [ "$(wc -l <<<"$states")" -ge 2 ] && ! grep -qv RUNNING <<<"$states"
}

put() {
  need curl
  ask --fail-with-body --output "$dir/answer" --request PUT --header 'Content-Type: application/json' \
    --data "@$2" "$(url)/connectors/$1/config" || { cat "$dir/answer" >&2; die "the connector $1 is refused"; }
  await 120 "$pidfile" runs "$1" || { ask "$(url)/connectors/$1/status" >&2; die "the connector $1 does not run"; }
}

wipe() {
  lock connect
  kill_daemon "$pidfile"
  rm -rf "$dir"
}

case ${1:-} in
  start) start ;;
  put) put "$2" "$3" ;;
  delete) need curl; ask --fail --request DELETE "$(url)/connectors/$2" ;;
  url) url ;;
  stop) lock connect; stop_daemon "$pidfile" 30 ;;
  wipe) wipe ;;
  watch) watch_idle connect "$2" ;;
  *) sed -n '2,/^\. /{/^#/p}' "$0"; exit 2 ;;
esac
