#!/usr/bin/env bash
# run-companies.sh BIN_DIR [FLAGS]: for a minute (RUN_SECONDS) generated events of companies to a topic by producer (with FLAGS) and
# from there by kafka-consumer into Postgres, and files of insolvencies, of which one comes late, from a folder that csv-runner
# watches; then the latest companies, the history of one and the insolvent ones. What was not running before is stopped at the end.
. "$(dirname "$0")/run-topics.sh"
bin=$1 seconds=${RUN_SECONDS:-60}
shift

query() { # query TITLE SQL
  printf '\n%s\n' "$1"
  if has_engine; then
    docker compose exec -T postgres psql -X -U "${PG_SUPERUSER:-postgres}" -d "${PG_DB:-tally}" -v ON_ERROR_STOP=1 -c "$2"
  else
    "$here/postgres.sh" psql -P pager=off -c "$2"
  fi
}

until_or_ended() { # until_or_ended SECONDS: waits, unless one of those that work ends before
  local child
  while ((SECONDS < $1)); do
    for child in "${children[@]}"; do kill -0 "$child" 2>/dev/null || { wait "$child"; exit 70; }; done
    sleep 0.2
  done
}

start_services companies:6
folder=$(mktemp -d)
to_remove+=("$folder")
launch "$bin/kafka-consumer" --flow companies
TALLY_WATCH__SETTLE=2s TALLY_WATCH__POLL=1s launch "$bin/csv-runner" --flow insolvencies --watch "$folder" --summary json >"$log"
launch "$bin/producer" --flow companies --rate "${RATE:-200/s}" --spoil "${SPOIL:-0.01}" "$@"
echo "events of companies and files of insolvencies flow for $seconds s" >&2
begin=$SECONDS
"$bin/sample" 150 --kind insolvencies --seed 1 >"$folder/monday.csv"
until_or_ended $((begin + seconds / 2))
"$bin/sample" 200 --kind insolvencies --seed 2 >"$folder/tuesday, late.csv"
until_or_ended $((begin + seconds))
stop_children

query 'the latest companies' "select id, name, organization_id, updated_at from companies order by updated_at desc, id limit 5"
query 'the history of the one with most versions' "
  select id, name, organization_id, valid_from, valid_to from companies_history
  where id = (select id from companies_raw group by id order by count(*) desc, id limit 1)
  order by partition, log, position limit 10"
query 'insolvent companies' "
  select id, name, organization_id, insolvency_ts from company_insolvencies order by insolvency_ts desc, id limit 5"
query 'files' "select name, state, message from files where flow = 'insolvencies' order by updated_at desc limit 5"
