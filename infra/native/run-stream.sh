#!/usr/bin/env bash
# run-stream.sh BIN_DIR FILE [FLAGS]: FILE again and again to a topic by producer (with FLAGS), and from there through
# the model into Postgres by kafka-consumer, until Ctrl-C. What was not running before is stopped at the end.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
bin=$1 file=$2
shift 2
topic=${TOPIC_NAME:-transactions}
dead_letters=${DLQ_TOPIC:-dead-letters}

has_engine() { { docker info && docker compose version; } >/dev/null 2>&1; }
services=(kafka postgres)
to_stop=() children=()

stop_all() { # those that feed first, each with the time to finish what it has in flight
  trap '' INT TERM
  local child
  for ((child = ${#children[@]} - 1; child >= 0; child--)); do
    kill -TERM "${children[child]}" 2>/dev/null || true
    wait "${children[child]}" 2>/dev/null || true
  done
  if [ ${#to_stop[@]} -gt 0 ]; then
    echo "stopping ${to_stop[*]}" >&2
    if has_engine; then
      docker compose stop "${to_stop[@]}"
    else
      for service in "${to_stop[@]}"; do "$here/$service.sh" stop; done
    fi
  fi
  rm -f "$log"
}

launch() { # in a session of its own, so that Ctrl-C reaches this script only, which stops them in order
  setsid "$@" &
  children+=($!)
}

log=$(mktemp)
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

before=$("$here/services.sh" env)
[[ $before == *KAFKA_BOOTSTRAP_SERVERS* ]] || to_stop+=(kafka)
[[ $before == *DATABASE_URL* ]] || to_stop+=(postgres)
if has_engine; then
  docker compose up --detach --wait "${services[@]}"
  for name in "$topic:6" "$dead_letters:1"; do
    docker compose exec -T kafka /opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --create \
      --if-not-exists --topic "${name%:*}" --partitions "${name#*:}"
  done
else
  for service in "${services[@]}"; do "$here/$service.sh" start; done
  "$here/kafka.sh" topics "$topic:6" "$dead_letters:1"
fi
eval "$("$here/services.sh" env)"
export TOPIC_NAME=$topic DLQ_TOPIC=$dead_letters
unset SCHEMA_REGISTRY_URL # the sample goes as JSON
# Of its records 8.4 % are transfers between persons, of the last 1,000 of a partition sometimes more than a tenth.
export TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD=${TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD:-0.15}

launch "$bin/ml-api" --listen 127.0.0.1:0 2>"$log"
until read -r _ _ ML_API_URL <"$log" && [[ $ML_API_URL == http:* ]]; do # "listening on URL", once the line is whole
  kill -0 "${children[0]}" 2>/dev/null || { cat "$log" >&2; exit 69; }
  sleep 0.05
done
export ML_API_URL
launch "$bin/kafka-consumer"
consumer=${children[1]}
launch "$bin/producer" "$file" --repeat --rate "${RATE:-1000/s}" "$@"
echo "records flow through $topic; Ctrl-C stops" >&2
wait "$consumer"
