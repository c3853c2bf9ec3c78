#!/usr/bin/env bash
# A private PostgreSQL on 127.0.0.1; started by root it runs as PG_OS_USER.
#   postgres.sh start          up and answering when it returns; a second start is free
#   postgres.sh psql [ARGS]    psql as the superuser
#   postgres.sh url            for clients
#   postgres.sh ca             the certificate that clients trust (PG_TLS=1)
#   postgres.sh stop           twice is fine
#   postgres.sh wipe           stop, also a frozen one, and remove its data
# PG_HOME (where servers are looked for besides PATH: /usr/lib/postgresql), PG_PORT (25432; 0 picks a free one and keeps it), PG_SUPERUSER (postgres), PG_PASSWORD (postgres), PG_DB (tally),
# PG_OS_USER (postgres, else nobody), PG_DIR ($INFRA_STATE/postgres: the OS user must be able to reach it),
# PG_FSYNC (on), PG_MAX_CONNECTIONS (100), PG_WAL_LEVEL (replica; logical for Debezium),
# PG_TLS (1: TLS as well, for localhost and 127.0.0.1),
# PG_WIPE_IDLE (seconds: wiped by itself once nobody has held a shared flock on $INFRA_STATE/users for so long)
. "$(dirname "$0")/lib.sh"

self=$(realpath "$0") super=${PG_SUPERUSER:-postgres} db=${PG_DB:-tally}
dir=$(realpath -m "${PG_DIR:-$INFRA_STATE/postgres}")
data=$dir/data logfile=$dir/log tls=$dir/tls
export PGPASSWORD=${PG_PASSWORD:-postgres}

bindir() { # the newest complete server installation
  local b
  for b in "$(pg_config --bindir 2>/dev/null || true)" $(printf '%s\n' "${PG_HOME:-/usr/lib/postgresql}"/*/bin | sort -rV) \
    "$(dirname "$(command -v postgres || echo /nonexistent/x)")"; do
    [ -x "$b/initdb" ] && [ -x "$b/pg_ctl" ] && [ -x "$b/psql" ] && { echo "$b"; return; }
  done
  die "no PostgreSQL server found: install the package postgresql (apt-get install -y postgresql)"
}

as=() # the server refuses to run as root
if [ "$(id -u)" = 0 ]; then
  os_user=${PG_OS_USER:-$(id -un postgres 2>/dev/null || echo nobody)}
  as=(runuser -u "$os_user" --)
fi

postmaster() { # its pid, while it lives: pg_ctl also believes in a killed one that nobody has reaped
  local pid
  { read -r pid <"$data/postmaster.pid"; } 2>/dev/null || return 1
  [ "$(readlink "/proc/$pid/cwd")" = "$data" ] && [ -n "$(proc_start "$pid")" ] && echo "$pid"
}
reaped() { # a dead server's pid must be gone before the next one accepts its lock file
  local pid
  [ -s "$data/postmaster.pid" ] || return 0
  read -r pid <"$data/postmaster.pid"
  for _ in {1..100}; do [ -e "/proc/$pid" ] && [ -z "$(proc_start "$pid")" ] || return 0; sleep 0.1; done
}

port() { kept_port "$dir/port" "${PG_PORT:-}" 25432; }
psql_() { "$bin/psql" -X -h 127.0.0.1 -p "$(port)" -U "$super" "$@"; }

make_cluster() { # moved into place when complete: whoever is killed here leaves nothing half made
  [ ! -s "$data/PG_VERSION" ] || return 0
  rm -rf "$data.new"
  # shellcheck disable=SC2016  # expanded by the inner shell, which runs as the server's user
  printf '%s\n' "$PGPASSWORD" | "${as[@]}" sh -c 'umask 077; cat >"$1"' _ "$dir/password"
  "${as[@]}" "$bin/initdb" -D "$data.new" -U "$super" -E UTF8 --locale=C --no-sync --auth-host=scram-sha-256 \
    --auth-local=reject --pwfile="$dir/password" >"$dir/initdb.log" 2>&1 ||
    { rm -f "$dir/password"; cat "$dir/initdb.log" >&2; die "initdb failed"; }
  rm -f "$dir/password"
  echo "include 'tally.conf'" >>"$data.new/postgresql.conf"
  mv -T "$data.new" "$data"
}

configure() { # configure PORT
  local ssl=off
  [ "${PG_TLS:-0}" != 1 ] || { make_certificate "$tls" "${as[@]}"; ssl=on; }
  # No unix socket: its path has a limit of 107 bytes that a deep checkout exceeds.
  # mmap: what a killed server leaves of its shared memory then goes with its data.
  cat >"$data/tally.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $1
unix_socket_directories = ''
max_connections = ${PG_MAX_CONNECTIONS:-100}
dynamic_shared_memory_type = mmap
fsync = ${PG_FSYNC:-on}
wal_level = ${PG_WAL_LEVEL:-replica}
timezone = 'UTC'
ssl = $ssl
ssl_cert_file = '$tls/server.crt'
ssl_key_file = '$tls/server.key'
CONF
}

launch() { # launch PORT; setsid, 9>&-: the server outlives this shell and does not inherit the lock
  configure "$1"
  : >"$logfile"
  setsid "${as[@]}" "$bin/pg_ctl" -D "$data" -l "$logfile" -w -t 60 start >/dev/null 2>&1 9>&-
}

start() {
  local port
  lock postgres
  if [ -n "${PG_WIPE_IDLE:-}" ]; then setsid "$self" watch "$PG_WIPE_IDLE" </dev/null >/dev/null 2>&1 9>&- & fi
  if postmaster >/dev/null; then
    for _ in {1..600}; do grep -q '^ready' "$data/postmaster.pid" && break; sleep 0.1; done
    log "already up on 127.0.0.1:$(port)"
    return
  fi
  bin=$(bindir)
  reaped
  mkdir -p "$dir"
  if [ ${#as[@]} -gt 0 ]; then
    "${as[@]}" test -x "$dir" || die "user $os_user cannot reach $dir: set PG_DIR to a place that every user can enter"
    touch "$logfile"
    chown -R "$os_user" "$dir"
  fi
  cd "$dir"
  make_cluster
  if [ "${PG_PORT:-}" = 0 ] && [ ! -s "$dir/port" ]; then
    for _ in {1..5}; do # another server may take the port before ours has it
      port=$(free_port)
      launch "$port" && break
      grep -q 'could not bind' "$logfile" || break
    done
  else
    port=$(port)
    ! port_busy "$port" || die "port $port is taken by another process: set PG_PORT"
    launch "$port" || true
  fi
  postmaster >/dev/null || { tail -n 30 "$logfile" >&2; die "it did not start; log: $logfile"; }
  echo "$port" >"$dir/port"
  psql_ -d postgres -qAtc "select 1 from pg_database where datname = '$db'" | grep -q 1 ||
    psql_ -d postgres -qc "create database \"$db\""
  log "$("$bin/postgres" --version) on 127.0.0.1:$port, database $db (pid $(postmaster))"
}

stop() {
  lock postgres
  ! postmaster >/dev/null || { bin=$(bindir); "${as[@]}" "$bin/pg_ctl" -D "$data" -m fast -w -t 60 stop >/dev/null; }
}

wipe() {
  local pid segment=
  lock postgres
  [ ! -s "$data/postmaster.pid" ] || segment=$(awk 'NR == 7 { print $2 }' "$data/postmaster.pid")
  if pid=$(postmaster); then
    bin=$(bindir)
    # shellcheck disable=SC2046  # a list of pids
    kill -CONT "$pid" $(ps -o pid= --ppid "$pid") 2>/dev/null || true
    "${as[@]}" "$bin/pg_ctl" -D "$data" -m immediate -w -t 20 stop >/dev/null || kill -KILL "$pid"
  fi
  # A killed server leaves its one System V segment; the pid file, still there then, names it.
  [ -z "$segment" ] || [ ! -e "$data/postmaster.pid" ] || ipcrm -m "$segment" 2>/dev/null || true
  rm -rf "$data" "$data.new" "$tls" "$logfile" "$dir"/{port,password,initdb.log,tls.log}
  [ ! -d "$dir" ] || rmdir --ignore-fail-on-non-empty "$dir"
}

case ${1:-} in
  start) start ;;
  psql) shift; bin=$(bindir); psql_ -d "$db" -v ON_ERROR_STOP=1 "$@" ;;
  url) echo "postgres://$super:$PGPASSWORD@127.0.0.1:$(port)/$db" ;;
  ca) [ -s "$tls/ca.crt" ] || die "no certificate: start it with PG_TLS=1"; echo "$tls/ca.crt" ;;
  stop) cd /; stop ;;
  wipe) cd /; wipe ;;
  watch) watch_idle postgres "$2" ;;
  *) sed -n '2,/^\. /{/^#/p}' "$0"; exit 2 ;;
esac
