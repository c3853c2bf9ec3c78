# shellcheck shell=bash
# Java, and programs from Maven Central: source it after lib.sh, do not run it.
#   INFRA_CACHE  jars, unpacked programs and compiled classes, shared by all states and kept by every wipe
#                (default ${XDG_CACHE_HOME:-~/.cache}/tally)
#   INFRA_JVM    where Javas are looked for besides JAVA_HOME and PATH (default /usr/lib/jvm)

[ -n "${INFRA_CACHE:-}" ] || [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] || die "HOME is not set: set INFRA_CACHE"
INFRA_CACHE=$(realpath -m "${INFRA_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/tally}")
export INFRA_CACHE

# Small and quick to start: for programs that end soon.
# shellcheck disable=SC2034  # used by the scripts
tool_flags=(-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData)

# java_home MAJOR PROGRAM: the oldest Java that is new enough and has the program; nothing where there is none
java_home() {
  local home v best='' best_v=999
  for home in "${JAVA_HOME:-}" "$(realpath -m "$(command -v java || echo /nowhere/bin/java)" | sed 's|/bin/java$||')" "${INFRA_JVM:-/usr/lib/jvm}"/*; do
    if [ -z "$home" ] || [ ! -x "$home/bin/$2" ]; then continue; fi
    if [ -r "$home/release" ]; then
      v=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release")
    else
      v=$("$home/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    fi
    if [ "${v:-0}" -ge "$1" ] && [ "$v" -lt "$best_v" ]; then best=$home best_v=$v; fi
  done
  echo "$best"
}

mvn_quiet() { # what Maven says is shown only when it fails
  local out
  need mvn maven
  out=$(mvn -q -B --strict-checksums "$@" 2>&1) ||
    { printf '%s\n' "$out" | grep -m 3 ERROR >&2 || true; die "Maven failed: is its repository within reach?"; }
}

# What is fetched is complete in a folder beside its place, then moved there: the place is there or not. One fetch at a
# time, whatever the state.
cache_lock() {
  mkdir -p "$INFRA_CACHE" || die "cannot make $INFRA_CACHE: set INFRA_CACHE"
  exec 6>"$INFRA_CACHE/.lock"
  flock -w 900 6 || die "another fetch holds $INFRA_CACHE/.lock"
}
cache_unlock() { exec 6>&-; }

fetch_jars() { # fetch_jars FOLDER GROUP:ARTIFACT:VERSION...: with all that they depend on
  local folder=$1 jar group artifact version tmp
  shift
  [ ! -d "$folder" ] || return 0
  cache_lock
  if [ ! -d "$folder" ]; then
    log "fetching from Maven Central, this once: $*"
    tmp=$(mktemp -d "$INFRA_CACHE/fetch.XXXXXX")
    {
      echo '<project><modelVersion>4.0.0</modelVersion><groupId>tally</groupId><artifactId>jars</artifactId>'
      echo '<version>1</version><packaging>pom</packaging><dependencies>'
      for jar in "$@"; do
        IFS=: read -r group artifact version <<<"$jar"
        echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
      done
      echo '</dependencies></project>'
    } >"$tmp/pom.xml"
    (
      trap 'rm -rf "$tmp"' EXIT
      mvn_quiet -f "$tmp/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$tmp/jars"
      mv -T "$tmp/jars" "$folder"
    )
  fi
  cache_unlock
}

fetch_archive() { # fetch_archive FOLDER GROUP:ARTIFACT:VERSION:tar.gz:CLASSIFIER: unpacked
  local folder=$1 archive=$2 tmp
  [ ! -d "$folder" ] || return 0
  cache_lock
  if [ ! -d "$folder" ]; then
    log "fetching from Maven Central, this once: $archive"
    tmp=$(mktemp -d "$INFRA_CACHE/fetch.XXXXXX")
    (
      trap 'rm -rf "$tmp"' EXIT
      mvn_quiet dependency:copy -Dartifact="$archive" -DoutputDirectory="$tmp"
      mkdir "$tmp/unpacked"
      tar -xzf "$tmp"/*.tar.gz -C "$tmp/unpacked"
      mv -T "$tmp/unpacked" "$folder"
    )
  fi
  cache_unlock
}

run_source() { # run_source JAVA_HOME CLASSPATH FILE.java [ARGS]: becomes the program, which is compiled once
  local home=$1 classpath=$2 source=$3 classes tmp
  shift 3
  classes=$INFRA_CACHE/classes/$({ cat "$source" && echo "$home $classpath"; } | cksum | cut -d' ' -f1)
  if [ ! -d "$classes" ]; then
    mkdir -p "$INFRA_CACHE/classes"
    tmp=$(mktemp -d "$INFRA_CACHE/classes/new.XXXXXX")
    "$home/bin/javac" -cp "$classpath" -d "$tmp" "$source" >&2 || { rm -rf "$tmp"; die "cannot compile $source"; }
    # Two at once make the same classes: the later one's are dropped.
    mv -T "$tmp" "$classes" 2>/dev/null || rm -rf "$tmp"
  fi
  exec "$home/bin/java" "${tool_flags[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$classes:$classpath" \
    "$(basename "$source" .java)" "$@"
}
