#!/usr/bin/env bash
# ./dev race [--jobs J1,J2,...] [--peers REGEX] [--runs N] [--records N] [--guarantee eos|alo]
#   [--partitions N] [--instances N] [--kills N]:
# Headwater against a plain librdkafka loop and Kafka Streams, on its own broker. All rows of
# race/peers.toml, three runs each, take over an hour; docs/benchmarks.md says what the figures are.
set -euo pipefail
. scripts/lib.sh
. scripts/broker.sh
. scripts/prerequisites.sh

FOLDER=$PWD/.headwater/race
JARS=$FOLDER/jars
CLASSES=$FOLDER/classes

ARGUMENTS=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    --jobs | --peers | --runs | --records | --guarantee | --partitions | --instances | --kills)
      shift 2 || die "$1 needs a value"
      ;;
    *) die "unknown argument: $1" ;;
  esac
done

# With TLS, like the tests, so that librdkafka is compiled once for both.
build() {
  watched "building" cargo build --release --all-features -p race -p floor -p referee
}

kafka_streams() {
  local pom=race/kafka-streams/pom.xml
  if ! cmp -s "$pom" "$JARS/pom.xml"; then
    note "fetching Kafka Streams from Maven Central (about 100 MB, once)"
    rm -rf "$JARS"
    mkdir -p "$JARS"
    watched "fetching" mvn -q -B -f "$pom" dependency:copy-dependencies \
      -DoutputDirectory="$JARS" -DincludeScope=runtime || die "Maven could not fetch Kafka Streams"
    cp "$pom" "$JARS/pom.xml"
  fi
  mkdir -p "$CLASSES"
  javac --release 17 -d "$CLASSES" -cp "$JARS/*" race/kafka-streams/Main.java
}

referee() {
  local broker_pid
  broker_pid=$(cat ".headwater/kafka/$STARTED_PORT/pid")
  watched "racing" "$(target_dir)/release/referee" --rows race/peers.toml --folder "$FOLDER" \
    --target "$(target_dir)/release" --classpath "$CLASSES:$JARS/*" \
    --bootstrap "127.0.0.1:$STARTED_PORT" --broker-pid "$broker_pid" \
    ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}
}

mkdir -p "$FOLDER"
phase "prerequisites"
ensure_native
ensure_kafka
ensure_jdk
phase "build"
note "RocksDB, librdkafka and OpenSSL take twenty to thirty-five minutes on two cores, the first time"
build
kafka_streams
phase "broker"
own_broker
phase "race"
status=0
referee || status=$?
phase "broker's end"
cleanup
phases_print
exit $status
