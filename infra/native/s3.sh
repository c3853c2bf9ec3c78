#!/usr/bin/env bash
# A private S3 server on 127.0.0.1: versitygw, built from the Go module proxy on the first start (about 1.5 minutes).
#   s3.sh start          up and answering when it returns; a second start is free
#   s3.sh url            for clients: AWS_ENDPOINT_URL
#   s3.sh stop           twice is fine; the buckets are kept
#   s3.sh wipe           kills it, also a frozen one, and removes its buckets
# A bucket is a folder in $INFRA_STATE/s3/data. S3_PORT (27070; 0 picks a free one and keeps it), S3_ACCESS_KEY (tally),
# S3_SECRET_KEY (tally-secret), S3_VERSION, INFRA_CACHE (where the program is kept),
# S3_WIPE_IDLE (seconds: wiped by itself once nobody has held a shared flock on $INFRA_STATE/users for so long)
. "$(dirname "$0")/lib.sh"

self=$(realpath "$0") version=${S3_VERSION:-1.8.0}
[ -n "${INFRA_CACHE:-}" ] || [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] || die "HOME is not set: set INFRA_CACHE"
INFRA_CACHE=$(realpath -m "${INFRA_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/tally}")
dir=$INFRA_STATE/s3 program=$INFRA_CACHE/versitygw-$version/versitygw
pidfile=$dir/pid logfile=$dir/log

port() { kept_port "$dir/port" "${S3_PORT:-}" 27070; }
url() { echo "http://127.0.0.1:$(port)"; }
answers() { curl --silent --fail --noproxy '*' --max-time 2 "$(url)/health"; }

build() { # once for all states
  [ ! -x "$program" ] || return 0
  need go golang-go
  mkdir -p "$INFRA_CACHE" || die "cannot make $INFRA_CACHE: set INFRA_CACHE"
  exec 6>"$INFRA_CACHE/.s3.lock"
  flock -w 900 6 || die "another build holds $INFRA_CACHE/.s3.lock"
  if [ ! -x "$program" ]; then
    log "building versitygw $version"
    GOFLAGS='-buildvcs=false -p=2' GOBIN=$INFRA_CACHE/versitygw-$version.new \
      go install "github.com/versity/versitygw/cmd/versitygw@v$version" >&2 6>&- || die "go install failed"
    rm -rf "${program%/*}"
    mv "$INFRA_CACHE/versitygw-$version.new" "${program%/*}"
  fi
  exec 6>&-
}

launch() {
  local port
  port=$(new_port "$dir/port" "${S3_PORT:-}" 27070)
  echo "$port" >"$dir/port"
  : >"$logfile"
  ROOT_ACCESS_KEY=${S3_ACCESS_KEY:-tally} ROOT_SECRET_KEY=${S3_SECRET_KEY:-tally-secret} \
    daemon "$pidfile" "$logfile" "$program" --port "127.0.0.1:$port" --health /health posix "$dir/data"
  await 60 "$pidfile" answers
}

start() {
  local fresh=
  need curl
  build
  lock s3
  if [ -n "${S3_WIPE_IDLE:-}" ]; then setsid "$self" watch "$S3_WIPE_IDLE" </dev/null >/dev/null 2>&1 9>&- & fi
  ! alive "$pidfile" >/dev/null || { log "already up: $(url)"; return; }
  mkdir -p "$dir/data"
  [ -s "$dir/port" ] || fresh=1
  [ "${S3_PORT:-}${fresh}" = 01 ] || ! port_busy "$(port)" || die "port $(port) is taken by another process: set S3_PORT"
  for _ in {1..5}; do # another server may take a port before ours has it
    launch && break
    kill_daemon "$pidfile"
    if [ -z "$fresh" ] || ! grep -q 'address already in use' "$logfile"; then break; fi
    rm -f "$dir/port"
  done
  alive "$pidfile" >/dev/null || { tail -n 30 "$logfile" >&2; die "it did not start; log: $logfile"; }
  log "versitygw $version: $(url) (pid $(alive "$pidfile"))"
}

wipe() {
  lock s3
  kill_daemon "$pidfile"
  rm -rf "$dir"
}

case ${1:-} in
  start) start ;;
  url) url ;;
  stop) lock s3; stop_daemon "$pidfile" 20 ;;
  wipe) cd /; wipe ;;
  watch) watch_idle s3 "$2" ;;
  *) sed -n '2,/^\. /{/^#/p}' "$0"; exit 2 ;;
esac
