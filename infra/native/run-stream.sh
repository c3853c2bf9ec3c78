#!/usr/bin/env bash
# run-stream.sh BIN_DIR FILE [FLAGS]: FILE again and again to a topic by producer (with FLAGS), and from there through
# the model into Postgres by kafka-consumer, until Ctrl-C. What was not running before is stopped at the end.
. "$(dirname "$0")/run-topics.sh"
bin=$1 file=$2
shift 2
topic=${TOPIC_NAME:-transactions}
dead_letters=${DLQ_TOPIC:-dead-letters}

start_services "$topic:6" "$dead_letters:1"
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
