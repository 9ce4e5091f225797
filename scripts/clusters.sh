#!/usr/bin/env bash
# ./dev clusters [VERSION...] [--bounded]: the transport conformance suite, and whole programs, on
# real clusters: each version of Kafka, each listener, each mechanism of SASL. VERSION+zookeeper is
# a version that has both, beside a ZooKeeper. --bounded: the oldest and the newest, three listeners.
set -euo pipefail
. scripts/lib.sh
. scripts/broker.sh
. scripts/prerequisites.sh

# KRaft of 3.3 knows no SCRAM, so 3.3.2 is here twice.
VERSIONS=(2.8.2 3.3.2 3.3.2+zookeeper 3.9.1 4.0.1 4.3.1)
BOUNDED_VERSIONS=(2.8.2 4.3.1)
BOUNDED_LISTENERS='PLAINTEXT|MUTUAL|SASL_SSL-SCRAM-SHA-512'
# A suite takes about a minute.
WITHIN=900
LOGS=$PWD/.headwater/clusters
ROWS=()
FAILED=0

usage() { sed -n '2,4s/^# //p' scripts/clusters.sh; }

main() {
  local listeners=. chosen=()
  while [ $# -gt 0 ]; do
    case $1 in
      --bounded)
        listeners=$BOUNDED_LISTENERS
        VERSIONS=("${BOUNDED_VERSIONS[@]}")
        ;;
      [0-9]*) chosen+=("$1") ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  [ ${#chosen[@]} = 0 ] || VERSIONS=("${chosen[@]}")
  ensure_native
  ensure_kafka
  build
  mkdir -p "$LOGS"
  for version in "${VERSIONS[@]}"; do
    try_version "$version" "$listeners"
  done
  say "results"
  printf '   %-16s %-28s %-24s %10s %8s\n' version listener suite passed time
  printf '   %s\n' "${ROWS[@]}"
  echo "   logs: $LOGS"
  [ $FAILED = 0 ] || die "$FAILED of ${#ROWS[@]} failed"
}

# The programs themselves are run: cargo would look at everything again for each of many rows.
build() {
  local built=$PWD/.headwater/clusters-build.json
  mkdir -p "${built%/*}"
  watched "building" bash -c '
    out=$1
    shift
    "$@" >"$out"
  ' build "$built" cargo test "${EVERYTHING[@]}" --no-run --message-format=json-render-diagnostics \
    --test transport_conformance --test kafka_secured_listeners_are_served \
    --test kafka_odd_clusters_are_served
  CONFORMANCE=$(program crates/kafka/tests/transport_conformance.rs "$built")
  ODD=$(program tests/kafka_odd_clusters_are_served.rs "$built")
  SECURED=$(program tests/kafka_secured_listeners_are_served.rs "$built")
}
# program SOURCE MESSAGES
program() {
  grep -F "\"src_path\":\"$PWD/$1\"" "$2" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

# try_version VERSION LISTENERS: a cluster of its own; all its rows; its end.
try_version() {
  local version=${1%+zookeeper} options=() clients client name
  [ "$1" = "$version" ] || options=(--zookeeper)
  say "Kafka $1"
  # Its data would only take room.
  own_broker --version "$version" "${options[@]}" --listeners all || {
    row "$1" all start 0 1 0
    cleanup
    return
  }
  clients=$PWD/.headwater/kafka/$STARTED_PORT/clients
  for client in "$clients"/*.properties; do
    name=$(basename "$client" .properties)
    [[ $name =~ ^($2) ]] && [[ ! $name =~ ^(EXPIRED|OTHER_HOST)$ ]] || continue
    try_suite "$1" "$name" conformance "$CONFORMANCE" "HEADWATER_KAFKA_CLIENT=$client"
  done
  try_suite "$1" all 'programs and refusals' "$SECURED" \
    "HEADWATER_KAFKA_CLUSTER=${clients%/clients}/cluster.env"
  try_suite "$1" PLAINTEXT 'odd clusters' "$ODD" \
    "HEADWATER_KAFKA_CLUSTER=${clients%/clients}/cluster.env"
  cleanup
}

# try_suite VERSION LISTENER SUITE PROGRAM VARIABLE=VALUE
try_suite() {
  local log=$LOGS/$1-$2-${3%% *}.log began=$SECONDS status=0 passed failed
  # Tests mostly wait for the broker.
  watched "$1 $2 $3" env "$5" "HEADWATER_KAFKA=127.0.0.1:$STARTED_PORT" RUST_TEST_THREADS=8 \
    timeout "$WITHIN" "$4" >"$log" 2>&1 || status=$?
  passed=$(grep -c '^test .* ok$' "$log") || true
  failed=$(grep -c '^test .* FAILED$' "$log") || true
  # A program that ended without its result, or ran nothing, has failed.
  [ $status = 0 ] && [ "$passed" -gt 0 ] || [ "$failed" -gt 0 ] || failed=1
  row "$1" "$2" "$3" "$passed" "$failed" $((SECONDS - began))
  grep '^test .* FAILED$' "$log" | sed 's/^/      /' || true
}

# row VERSION LISTENER SUITE PASSED FAILED SECONDS
row() {
  local line
  [ "$5" = 0 ] || FAILED=$((FAILED + 1))
  line=$(printf '%-16s %-28s %-24s %4d of %3d %8s' "$1" "$2" "$3" "$4" $(($4 + $5)) \
    "$(duration "$6")")
  [ "$5" = 0 ] || line="$line  FAILED"
  ROWS+=("$line")
  note "$line"
}

main "$@"
