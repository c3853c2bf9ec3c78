#!/usr/bin/env bash
# run-batch.sh BIN_DIR FILE [FLAGS]: csv-runner with a model service of its own, which is stopped at the end.
set -euo pipefail
bin=$1 file=$2
shift 2

log=$(mktemp)
# Out of reach of Ctrl-C: csv-runner needs it for what is in flight.
setsid "$bin/ml-api" --listen 127.0.0.1:0 2>"$log" &
model=$!
trap 'kill "$model" 2>/dev/null || true; wait "$model" 2>/dev/null || true; rm -f "$log"' EXIT
until read -r _ _ url <"$log" && [[ $url == http:* ]]; do # "listening on URL", once the line is whole
  kill -0 "$model" 2>/dev/null || { cat "$log" >&2; exit 69; }
  sleep 0.05
done

ML_API_URL=$url "$bin/csv-runner" "$file" "$@" || exit $?
