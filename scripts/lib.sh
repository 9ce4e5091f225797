# What the scripts of ./dev share: messages, and long commands that report progress.
# Sourced, with the working directory at the top of the checkout.

# One profile and one feature set for tests, lints and documentation: RocksDB, librdkafka and
# OpenSSL are compiled once for all of them (docs/decisions/0003-one-build-profile.md).
# shellcheck disable=SC2034 # used by the scripts that source this file
EVERYTHING=(--release --workspace --all-features)

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

# 75 -> 1m15s
duration() { printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); }

# The wall time of each phase, for the summary: phase NAME ends the previous one.
PHASES=()
phase() {
  phase_end
  PHASE_NAME=$1
  PHASE_START=$SECONDS
  say "$1"
}
phase_end() {
  [ -n "${PHASE_NAME:-}" ] || return 0
  PHASES+=("$(printf '%-28s %s' "$PHASE_NAME" "$(duration $((SECONDS - PHASE_START)))")")
  PHASE_NAME=
}
phases_print() {
  phase_end
  printf '   %s\n' "${PHASES[@]}" "$(printf '%-28s %s' 'all of it' "$(duration $SECONDS)")"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Where a broker of ours may listen, with as many ports as one with all listeners takes: not Kafka's
# usual port, where another broker may run.
free_port() {
  local port
  for ((port = 19392; port < 19552; port += 8)); do
    if are_free "$port" 8; then
      echo "$port"
      return
    fi
  done
  die "no free ports from 19392 to 19551"
}
# are_free PORT COUNT
are_free() {
  local port
  for ((port = $1; port < $1 + $2; port++)); do
    ! listens "$port" || return 1
  done
}

target_dir() { echo "${CARGO_TARGET_DIR:-target}"; }

# Cargo is silent for minutes while C and C++ compile: says how many files are done.
native_progress() {
  local dir name made total=
  for dir in "$(target_dir)"/release/build/*-sys-*/out; do
    [ -n "$(find "$dir" -name '*.o' -mmin -1 -print -quit 2>/dev/null)" ] || continue
    name=${dir%/out}
    name=${name##*/}
    made=$(find "$dir" -name '*.o' | wc -l)
    total=
    case $name in
      librocksdb-sys-*) total=" of about $(rocksdb_files)" ;;
    esac
    printf ', %s: %d%s files' "${name%-*}" "$made" "$total"
  done
}
rocksdb_files() {
  cat "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/librocksdb-sys-*/rocksdb_lib_sources.txt \
    2>/dev/null | tr ' ' '\n' | grep -c '\.cc$' || echo 340
}

# watched WHAT COMMAND...: runs it in its own process group, so that an interrupt ends all of it
# (watched_end, from a trap). Reports every half minute that it is running; returns its status.
WATCHED=
watched() {
  local what=$1 start=$SECONDS every=${HEADWATER_HEARTBEAT:-30} status=0
  local next=$((SECONDS + every))
  shift
  setsid "$@" </dev/null &
  WATCHED=$!
  while kill -0 "$WATCHED" 2>/dev/null; do
    if [ $SECONDS -ge $next ]; then
      printf '   ... %s, %s%s\n' "$what" "$(duration $((SECONDS - start)))" "$(native_progress)"
      next=$((SECONDS + every))
    fi
    # In the background, so that a signal is answered at once and not after the sleep.
    sleep 0.5 &
    wait $! || true
  done
  wait "$WATCHED" || status=$?
  WATCHED=
  return "$status"
}
watched_end() {
  [ -n "$WATCHED" ] || return 0
  kill -- "-$WATCHED" 2>/dev/null || true
  wait "$WATCHED" 2>/dev/null || true
  WATCHED=
}
