#!/usr/bin/env bash
# Kafka, Postgres and the schema registry together, each by its own script beside this one; their settings hold here too.
#   services.sh up             all answer and have their schemas when it returns; a second time is free. Prints what env prints
#   services.sh schemas        registers them with a registry that is up
#   services.sh env            the settings to export, of those that listen
#   services.sh down           stops them; what they hold is kept, but for the registry's schemas
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/java.sh"

here=$(dirname "$(realpath "$0")")

each() { # each VERB SERVICE...: side by side
  local verb=$1 service pid failed='' pids=()
  shift
  for service in "$@"; do
    "$here/$service.sh" "$verb" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  [ -z "$failed" ] || die "not all of them: see above; $verb them again once that is mended"
}

up() {
  local services=(kafka postgres)
  if [ -n "$(java_home 21 java)" ]; then
    services+=(registry)
  else
    log "the schema registry is left out, Avro with it: it needs Java 21 or newer (the package openjdk-21-jre-headless)"
  fi
  each start "${services[@]}"
  [[ ${services[*]} != *registry* ]] || register
  settings
}

register() {
  "$here/registry.sh" register user-login-value "$here/../schemas/user_login_v1.json"
  "$here/registry.sh" register companies-value "$here/../schemas/company_event_v1.json"
}

settings() {
  local kafka postgres registry
  kafka=$("$here/kafka.sh" url)
  postgres=$("$here/postgres.sh" url)
  registry=$("$here/registry.sh" url)
  ! listens "$postgres" || echo "export DATABASE_URL=$postgres"
  ! listens "$kafka" || echo "export KAFKA_BOOTSTRAP_SERVERS=$kafka"
  ! listens "$registry" || echo "export SCHEMA_REGISTRY_URL=$registry"
}

listens() { # listens ADDRESS: at the port that follows 127.0.0.1:
  local port=${1##*127.0.0.1:}
  port_busy "${port%%/*}"
}

case ${1:-} in
  up) up ;;
  schemas) register ;;
  env) settings ;;
  down) each stop kafka postgres registry ;;
  *) sed -n '2,/^\. /{/^#/p}' "$0"; exit 2 ;;
esac
