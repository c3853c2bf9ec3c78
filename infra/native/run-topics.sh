# shellcheck shell=bash
# What the recipes share that run a flow from a topic until Ctrl-C: source it, do not run it. What was not running before is
# stopped at the end.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
log=$(mktemp)
to_stop=() children=() to_remove=()

has_engine() { { docker info && docker compose version; } >/dev/null 2>&1; }

stop_children() { # those that feed first, each with the time to finish what it has in flight
  local child
  for ((child = ${#children[@]} - 1; child >= 0; child--)); do
    kill -TERM "${children[child]}" 2>/dev/null || true
    wait "${children[child]}" 2>/dev/null || true
  done
  children=()
}

stop_all() {
  trap '' INT TERM
  stop_children
  if [ ${#to_stop[@]} -gt 0 ]; then
    echo "stopping ${to_stop[*]}" >&2
    if has_engine; then
      docker compose stop "${to_stop[@]}"
    else
      for service in "${to_stop[@]}"; do "$here/$service.sh" stop; done
    fi
  fi
  rm -rf "$log" "${to_remove[@]}"
}

trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

launch() { # in a session of its own, so that Ctrl-C reaches this script only, which stops them in order
  setsid "$@" &
  children+=($!)
}

start_services() { # start_services NAME:PARTITIONS...: Kafka with these topics, and Postgres; their addresses are exported
  local before services=(kafka postgres) name
  before=$("$here/services.sh" env)
  [[ $before == *KAFKA_BOOTSTRAP_SERVERS* ]] || to_stop+=(kafka)
  [[ $before == *DATABASE_URL* ]] || to_stop+=(postgres)
  if has_engine; then
    docker compose up --detach --wait "${services[@]}"
    for name in "$@"; do
      docker compose exec -T kafka /opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --create \
        --if-not-exists --topic "${name%:*}" --partitions "${name#*:}"
    done
  else
    for service in "${services[@]}"; do "$here/$service.sh" start; done
    "$here/kafka.sh" topics "$@"
  fi
  eval "$("$here/services.sh" env)"
}
