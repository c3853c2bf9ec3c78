#!/usr/bin/env bash
# run-logins.sh BIN_DIR [FLAGS]: generated logins, some of them spoiled, to a topic by producer (with FLAGS), and from there to
# the topics of processed logins and dead letters by kafka-consumer, until Ctrl-C, when it prints the counts. What was not
# running before is stopped at the end.
. "$(dirname "$0")/run-topics.sh"
bin=$1
shift

start_services user-login:6 user-login-processed:6 user-login-dead-letter:1
launch "$bin/kafka-consumer" --flow user-logins
consumer=${children[0]}
launch "$bin/producer" --flow user-logins --rate "${RATE:-100/s}" --spoil "${SPOIL:-0.05}" "$@"
echo "logins flow from user-login to user-login-processed; Ctrl-C stops and prints the counts" >&2
wait "$consumer"
