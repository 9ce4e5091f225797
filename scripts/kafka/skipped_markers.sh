#!/usr/bin/env bash
# scripts/kafka/skipped_markers.sh [KILLS]: what KAFKA-20734 does to a single broker, without any
# part of Headwater. The broker is killed KILLS times (12 by default), half a minute each, under
# transactions of Kafka's own client. Then a read_committed consumer looks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/lib.sh
. scripts/prerequisites.sh
. scripts/broker.sh

ensure_jdk
own_broker
export HEADWATER_KAFKA_PORT=$STARTED_PORT
NODE=.headwater/kafka/$STARTED_PORT
CLASSES=$(bash scripts/kafka.sh classpath)

coproc PRODUCERS {
  exec java -Dorg.slf4j.simpleLogger.defaultLogLevel=off -cp "$CLASSES" \
    scripts/kafka/SkippedMarkers.java "127.0.0.1:$STARTED_PORT" >"$NODE/producers.log" 2>&1
}
producers=$PRODUCERS_PID
sleep 10
for ((round = 1; round <= ${1:-12}; round++)); do
  kill -9 "$(cat "$NODE/pid")"
  sleep 0.5
  bash scripts/kafka.sh start --keep
  sleep 6
  note "killed $round times"
done
echo over >&"${PRODUCERS[1]}"
wait "$producers"
tail -n 20 "$NODE/producers.log"
