# shellcheck shell=bash
# What the service scripts share: source it, do not run it.
#   INFRA_STATE  data, logs and locks. Default: .platform in the checkout; for root, whose checkouts a service's own
#                user often cannot enter, a folder of ${TMPDIR:-/tmp} named after the checkout
# A service's start leaves its port in INFRA_STATE/SERVICE/port; port 0 stands for a free one, which is then kept.
set -euo pipefail

log() { printf '%s %s\n' "${0##*/}:" "$*" >&2; }
die() { log "error: $*"; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is not installed: install the package ${2:-$1}"; }

need flock util-linux
need setsid util-linux

checkout=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
if [ -n "${INFRA_STATE:-}" ]; then
  INFRA_STATE=$(realpath -m "$INFRA_STATE")
elif [ "$(id -u)" = 0 ]; then
  INFRA_STATE=${TMPDIR:-/tmp}/tally-$(printf %s "$checkout" | cksum | cut -d' ' -f1)
else
  INFRA_STATE=$checkout/.platform
fi
export INFRA_STATE

# Nothing for a process that is gone or that nobody has reaped yet: kill -0 calls that one alive. While a killed one's
# other threads are ending, it still holds its files and ports.
proc_start() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" || $18 > 1 { print $20 }'; }

# One start or stop at a time per service. Whatever outlives the script is started with 9>&-.
lock() {
  mkdir -p "$INFRA_STATE"
  [ -O "$INFRA_STATE" ] || die "$INFRA_STATE belongs to another user: set INFRA_STATE"
  exec 9>"$INFRA_STATE/.$1.lock"
  flock -w 120 9 || die "$1: another start or stop holds the lock"
}

port_busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # below the range that the kernel hands out by itself
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 10000))
    port_busy "$port" || { echo "$port"; return; }
  done
  die "no free port found"
}

kept_port() { # kept_port FILE WANTED DEFAULT: the one wanted, else the one kept from the last start, else the default (0 for 0)
  case $2 in
    '' | 0) cat "$1" 2>/dev/null || echo "${2:-$3}" ;;
    *) echo "$2" ;;
  esac
}

new_port() { # new_port FILE WANTED DEFAULT: the port to start on
  if [ "$2" = 0 ] && [ ! -s "$1" ]; then free_port; else kept_port "$@"; fi
}

# A pid file holds the pid and its start time, so that a pid given to another process is never taken for ours.
alive() { # alive PIDFILE: prints the pid
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null && [ -n "$start" ] && [ "$(proc_start "$pid")" = "$start" ] && echo "$pid"
}

daemon() { # daemon PIDFILE LOGFILE COMMAND...: in a session of its own, without the lock, so that it outlives us
  local pidfile=$1 logfile=$2 pid
  shift 2
  setsid "$@" </dev/null >>"$logfile" 2>&1 9>&- &
  pid=$!
  echo "$pid $(proc_start "$pid")" >"$pidfile"
}

await() { # await SECONDS PIDFILE CHECK...: until the check passes; fails when the daemon dies or the time is up
  local end=$((SECONDS + $1)) pidfile=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$pidfile" >/dev/null && ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

stop_daemon() { # stop_daemon PIDFILE SECONDS: asks it to end, also when it is frozen; kills it when it has not in time
  local pid end=$((SECONDS + $2))
  if pid=$(alive "$1"); then
    kill -TERM "$pid"
    kill -CONT "$pid"
    while alive "$1" >/dev/null && ((SECONDS < end)); do sleep 0.1; done
    ! alive "$1" >/dev/null || log "pid $pid has not ended within $2 s: killing it"
  fi
  kill_daemon "$1"
}

kill_daemon() { # kill_daemon PIDFILE: dead when it returns, also one that is frozen
  local pid
  if pid=$(alive "$1"); then
    kill -KILL "$pid" || true
    while alive "$1" >/dev/null; do sleep 0.05; done
  fi
  rm -f "$1"
}

# make_certificate FOLDER [PREFIX...]: ca.crt, server.crt, server.key; run behind the prefix. The server's is valid for
# CERTIFICATE_DAYS (3650); with 0 it has expired a second later.
make_certificate() {
  local folder=$1
  shift
  [ ! -s "$folder/ca.crt" ] || return 0
  need openssl
  "$@" mkdir -p "$folder"
  # An authority of its own signs it, since some clients refuse a certificate that signed itself.
  # shellcheck disable=SC2016  # expanded by the inner shell
  "$@" bash -euc '
    cd "$1"
    printf "%s\n" "[req]" "distinguished_name = dn" "[dn]" \
      "[ca]" "basicConstraints = critical, CA:TRUE" "keyUsage = critical, keyCertSign" \
      "[server]" "basicConstraints = critical, CA:FALSE" "extendedKeyUsage = serverAuth" \
      "subjectAltName = DNS:localhost, IP:127.0.0.1" >conf
    new=(openssl req -config conf -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    "${new[@]}" -x509 -extensions ca -days 3650 -subj "/CN=Tally local authority" -keyout ca.key -out ca.new
    "${new[@]}" -subj /CN=localhost -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.new -CAkey ca.key -set_serial 1 -days "$2" -extfile conf \
      -extensions server -out server.crt
    rm ca.key server.csr conf
    mv ca.new ca.crt' _ "$folder" "${CERTIFICATE_DAYS:-3650}" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; die "openssl failed"; }
}

# One per service and state folder; it calls the script's own wipe. Tests hold a shared lock on the users file while
# they run; the kernel lets go of it however they end. The file's time tells of those that came and went between two
# looks. Services that wipe themselves need a state folder each.
watch_idle() { # watch_idle SERVICE SECONDS
  local seen='' idle_since=$SECONDS time users=$INFRA_STATE/users
  cd /
  exec 8>"$INFRA_STATE/.$1.watch"
  flock -n 8 || return 0
  exec 7<>"$users"
  while sleep 2 7>&- 8>&-; do
    [ "$users" -ef /proc/self/fd/7 ] || return 0
    time=$(stat -c %y "$users")
    if [ "$time" != "$seen" ] || ! flock -n 7; then
      seen=$time idle_since=$SECONDS
    elif ((SECONDS - idle_since < $2)); then
      flock -u 7
    else
      wipe # whoever comes now waits for the users file, finds it removed and makes a new one
      rm -f "$INFRA_STATE/.$1".{lock,watch} "$users"
      rmdir --ignore-fail-on-non-empty "$INFRA_STATE"
      return 0
    fi
  done
}
