#!/usr/bin/env bash
# A private Apache Kafka broker (KRaft, one node) on 127.0.0.1, from Maven Central's jars.
#   kafka.sh start             up and answering when it returns; a second start is free
#   kafka.sh topics NAME:PARTITIONS[:KEY=VALUE,...] ...   creates those that are missing
#   kafka.sh url [sasl|tls|sasl_tls]   the address for clients; the others with KAFKA_SECURITY=1
#   kafka.sh ca                the certificate that clients trust (KAFKA_SECURITY=1)
#   kafka.sh jars              the class path of Kafka's own clients
#   kafka.sh run FILE.java [ARGS]      a program on that class path, compiled once
#   kafka.sh run_streams FILE.java [ARGS]   the same with Kafka Streams, whose jars (70 MB) are fetched for it
#   kafka.sh stop              also a frozen one; twice is fine
#   kafka.sh wipe              kills it, also a frozen one, and removes its data
# KAFKA_PORT (29092) and KAFKA_CONTROLLER_PORT (29093): 0 picks a free one and keeps it; KAFKA_VERSION, KAFKA_HEAP (512m),
# KAFKA_JAVA_OPTS (more words for its JVM),
# KAFKA_SECURITY (1: TLS, SASL and both as well, on ports of their own; PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 of user
# tally, password secret), KAFKA_CERTIFICATE_DAYS (3650: from its making on), KAFKA_SETTINGS (more lines for
# server.properties), KAFKA_CLUSTER_ID (the same for all brokers of a cluster), INFRA_CACHE (where the jars are kept),
# KAFKA_WIPE_IDLE (seconds: wiped by itself once nobody has held a shared flock on $INFRA_STATE/users for so long)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/java.sh"

self=$(realpath "$0") version=${KAFKA_VERSION:-4.3.1} heap=${KAFKA_HEAP:-512m}
dir=$INFRA_STATE/kafka jars=$INFRA_CACHE/kafka-$version streams=$INFRA_CACHE/kafka-streams-$version
data=$dir/data pidfile=$dir/pid logfile=$dir/log tls=$dir/tls

prepare() {
  home=$(java_home 17 javac)
  [ -n "$home" ] || die "no Java 17 or newer with its compiler found: install the packages openjdk-17-jdk-headless and maven (apt-get install -y openjdk-17-jdk-headless maven)"
  # slf4j 2 does not bind to the API that Kafka brings.
  fetch_jars "$jars" "org.apache.kafka:kafka_2.13:$version" org.slf4j:slf4j-simple:1.7.36
}
port() { kept_port "$dir/port" "${KAFKA_PORT:-}" 29092; }

configure() { # configure DATA_FOLDER: server.properties for the ports noted in the folder
  local listeners map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
  listeners=PLAINTEXT://127.0.0.1:$(<"$dir/port")
  if [ -s "$dir/tls.port" ]; then
    listeners+=,SASL://127.0.0.1:$(<"$dir/sasl.port"),TLS://127.0.0.1:$(<"$dir/tls.port")
    listeners+=,SASL_TLS://127.0.0.1:$(<"$dir/sasl_tls.port")
    map+=,SASL:SASL_PLAINTEXT,TLS:SSL,SASL_TLS:SASL_SSL
  fi
  # The session is short because a killed broker's must run out before the next one may start. The cleaner's buffer is
  # a laptop's. Tests wait for the cleaner, for retention and for transactions that time out, so all three look often;
  # but only a topic that says so has a retention, since a record with an old timestamp would else go at once.
  cat <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(<"$dir/controller.port")
listeners=$listeners,CONTROLLER://127.0.0.1:$(<"$dir/controller.port")
advertised.listeners=$listeners
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=$map
log.dirs=$1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=500
log.initial.task.delay.ms=1000
log.retention.ms=-1
log.retention.check.interval.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
CONF
  printf '%s\n' "${KAFKA_SETTINGS:-}" # of a setting that comes twice the last one counts
  [ -s "$dir/tls.port" ] || return 0
  local listener login=org.apache.kafka.common.security
  for listener in sasl sasl_tls; do
    cat <<CONF
listener.name.$listener.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.$listener.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_tally="secret";
listener.name.$listener.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.$listener.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
CONF
  done
  printf '%s\n' ssl.keystore.type=PEM "ssl.keystore.location=$tls/server.pem"
}

choose_ports() { # notes those that the folder does not have yet
  local name
  for _ in {1..5}; do # until no two are the same
    new_port "$dir/port" "${KAFKA_PORT:-}" 29092 >"$dir/port.new"
    new_port "$dir/controller.port" "${KAFKA_CONTROLLER_PORT:-${KAFKA_PORT:+0}}" 29093 >"$dir/controller.port.new"
    if [ "${KAFKA_SECURITY:-0}" = 1 ]; then
      for name in sasl tls sasl_tls; do new_port "$dir/$name.port" 0 0 >"$dir/$name.port.new"; done
    fi
    [ -n "$(sort "$dir"/*port.new | uniq -d)" ] || break
  done
  for name in "$dir"/*port.new; do mv "$name" "${name%.new}"; done
}

new_id() { echo "T$(head -c 16 /dev/urandom | base64 | tr +/ -_ | cut -c2-22)"; }

format() { # moved into place when complete: whoever is killed here leaves nothing half made
  [ ! -s "$data/meta.properties" ] || return 0
  rm -rf "$data.new"
  configure "$data.new" >"$dir/format.properties"
  "$home/bin/java" "${tool_flags[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*" kafka.tools.StorageTool \
    format -c "$dir/format.properties" -t "${KAFKA_CLUSTER_ID:-$(new_id)}" \
    --add-scram 'SCRAM-SHA-256=[name=tally,password=secret]' \
    --add-scram 'SCRAM-SHA-512=[name=tally,password=secret]' >"$dir/format.log" 2>&1 ||
    { cat "$dir/format.log" >&2; die "format failed"; }
  mv -T "$data.new" "$data"
}

launch() {
  choose_ports
  if [ -s "$dir/tls.port" ]; then
    CERTIFICATE_DAYS=${KAFKA_CERTIFICATE_DAYS:-} make_certificate "$tls"
    cat "$tls/server.key" "$tls/server.crt" >"$tls/server.pem"
  fi
  format
  configure "$data" >"$dir/server.properties"
  : >"$logfile"
  # shellcheck disable=SC2086  # KAFKA_JAVA_OPTS is a list of words
  daemon "$pidfile" "$logfile" "$home/bin/java" "-Xmx$heap" -XX:+UseG1GC -XX:-UsePerfData ${KAFKA_JAVA_OPTS:-} \
    -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$jars/*" kafka.Kafka "$dir/server.properties"
  await 180 "$pidfile" grep -q 'Kafka Server started' "$logfile"
}

start() {
  local fresh=
  prepare
  lock kafka
  if [ -n "${KAFKA_WIPE_IDLE:-}" ]; then setsid "$self" watch "$KAFKA_WIPE_IDLE" </dev/null >/dev/null 2>&1 9>&- & fi
  ! alive "$pidfile" >/dev/null || { log "already up on 127.0.0.1:$(port)"; return; }
  mkdir -p "$dir"
  [ -s "$dir/port" ] || fresh=1
  [ "${KAFKA_PORT:-}${fresh}" = 01 ] || ! port_busy "$(port)" ||
    die "port $(port) is taken by another process: set KAFKA_PORT"
  for _ in {1..5}; do # another server may take a port before ours has it
    launch && break
    kill_daemon "$pidfile"
    if [ -z "$fresh" ] || ! grep -q 'Address already in use' "$logfile"; then break; fi
    rm -f "$dir"/*port
  done
  alive "$pidfile" >/dev/null || { grep -v ' INFO ' "$logfile" | tail -n 30 >&2; die "it did not start; log: $logfile"; }
  log "Kafka $version on 127.0.0.1:$(port) (pid $(alive "$pidfile"))"
}

url() {
  case ${1:-} in
    '') echo "127.0.0.1:$(port)" ;;
    sasl | tls | sasl_tls)
      [ -s "$dir/$1.port" ] || die "no such listener: start it with KAFKA_SECURITY=1"
      echo "127.0.0.1:$(<"$dir/$1.port")"
      ;;
    *) die "the listeners are sasl, tls and sasl_tls" ;;
  esac
}

wipe() {
  lock kafka
  kill_daemon "$pidfile"
  rm -rf "$dir"
}

case ${1:-} in
  start) start ;;
  topics) shift; prepare; run_source "$home" "$jars/*" "$(dirname "$self")/Topics.java" "$(url)" "$@" ;;
  url) url "${2:-}" ;;
  ca) [ -s "$tls/ca.crt" ] || die "no certificate: start it with KAFKA_SECURITY=1"; echo "$tls/ca.crt" ;;
  jars) prepare; echo "$jars/*" ;;
  run) shift; prepare; run_source "$home" "$jars/*" "$@" ;;
  run_streams)
    shift
    prepare
    fetch_jars "$streams" "org.apache.kafka:kafka-streams:$version"
    run_source "$home" "$jars/*:$streams/*" "$@"
    ;;
  stop) lock kafka; stop_daemon "$pidfile" 30 ;;
  wipe) wipe ;;
  watch) watch_idle kafka "$2" ;;
  *) sed -n '2,/^\. /{/^#/p}' "$0"; exit 2 ;;
esac
