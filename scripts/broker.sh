# A broker for as long as a script runs; sourced after lib.sh. When the script ends for any reason,
# so do its broker and what it watches.

STARTED_PORT=

# own_broker OPTIONS...: of `./dev kafka start`.
own_broker() {
  STARTED_PORT=$(free_port) || return 1
  HEADWATER_KAFKA_PORT=$STARTED_PORT bash scripts/kafka.sh start "$@"
}

# The one that HEADWATER_KAFKA names, or one of our own, for the tests to find.
some_broker() {
  [ -z "${HEADWATER_KAFKA:-}" ] || { note "using the given broker: $HEADWATER_KAFKA"; return; }
  own_broker || return 1
  export HEADWATER_KAFKA=127.0.0.1:$STARTED_PORT
  export HEADWATER_KAFKA_LOGIN=127.0.0.1:$((STARTED_PORT + 2))
}

cleanup() {
  watched_end
  [ -z "$STARTED_PORT" ] || HEADWATER_KAFKA_PORT=$STARTED_PORT bash scripts/kafka.sh stop || true
  STARTED_PORT=
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
