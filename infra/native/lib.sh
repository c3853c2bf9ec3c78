# shellcheck shell=bash
# What the service scripts share: source it, do not run it.
#   INFRA_STATE  data, logs and locks. Default: .platform in the checkout; for root, whose checkouts a service's own
#                user often cannot enter, a folder of ${TMPDIR:-/tmp} named after the checkout
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

# Nothing for a process that is gone or that nobody has reaped yet: kill -0 calls that one alive.
proc_start() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

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
