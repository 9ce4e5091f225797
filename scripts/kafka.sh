#!/usr/bin/env bash
# ./dev kafka: one Apache Kafka node (KRaft, broker and controller in one process) on loopback,
# from Maven jars. Everything it writes is under .headwater/kafka, one folder a port.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh
trap 'watched_end' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

usage() {
  cat <<'USAGE'
usage: ./dev kafka COMMAND

  start [--keep]       starts the node; ready when this returns. --keep: with the data it had
  stop [--keep]        stops it, and removes its data unless --keep
  status               says whether it runs; exit status 1 if not
  topics               lists the topics
  consume TOPIC [...]  prints key and value of what is committed, from the beginning, until Ctrl-C;
                       more arguments go to Kafka's console consumer
  configure TOPIC NAME=VALUE
                       changes a setting of a topic
  delete TOPIC         deletes a topic
  transactions [MINUTES | TOPIC PARTITION]
                       lists transactions and their states; or those that hang for longer, and
                       their coordinator does not know of; or the producers of a partition
  classpath            prints the class path of Kafka's jars

HEADWATER_KAFKA_PORT   port of the node, default 9092; its controller takes the next one, and the
                       one after that asks for a name and a password (SASL PLAIN: headwater, water)
HEADWATER_KAFKA_HEAP   heap of the node, default 1g
USAGE
}

PORT=${HEADWATER_KAFKA_PORT:-9092}
CONTROLLER_PORT=$((PORT + 1))
LOGIN_PORT=$((PORT + 2))
HOME_DIR=$PWD/.headwater/kafka
JARS=$HOME_DIR/jars
NODE=$HOME_DIR/$PORT
CONFIG=$NODE/server.properties
LOG=$NODE/out.log
READY_WITHIN=60

# The pid file outlives a reboot, and process ids come again: the configuration's path tells ours.
running() {
  [ -s "$NODE/pid" ] && tr '\0' '\n' 2>/dev/null <"/proc/$(cat "$NODE/pid")/cmdline" |
    grep -qxF "$CONFIG"
}
describe() { echo "Kafka $(kafka_version) on 127.0.0.1:$PORT, pid $(cat "$NODE/pid")"; }
kafka_version() { sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' scripts/kafka/pom.xml; }

fetch_jars() {
  ensure_kafka
  [ "$(cat "$JARS/version" 2>/dev/null)" = "$(kafka_version)" ] && return
  note "fetching Kafka $(kafka_version) from Maven Central (about 55 MB, once)"
  rm -rf "$JARS"
  mkdir -p "$JARS"
  watched "fetching" mvn -q -B -f scripts/kafka/pom.xml dependency:copy-dependencies \
    -DoutputDirectory="$JARS" -DincludeScope=runtime || die "Maven could not fetch Kafka"
  kafka_version >"$JARS/version"
}

write_config() {
  cat >"$CONFIG" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER_PORT
listeners=CLIENTS://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT,LOGIN://127.0.0.1:$LOGIN_PORT
advertised.listeners=CLIENTS://127.0.0.1:$PORT,LOGIN://127.0.0.1:$LOGIN_PORT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
  required user_headwater="water";
log.dirs=$NODE/data
num.partitions=4
# One node: every internal topic has one replica, or transactions and groups would never start.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A group of one need not wait for others to join.
group.initial.rebalance.delay.ms=0
# Event times lie in the past: nothing may be deleted for its age.
log.retention.ms=-1
log.segment.delete.delay.ms=1000
PROPERTIES
}

# Without '-', which would look like an option at the beginning.
cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'xy' | cut -c 1-22; }

format() {
  rm -rf "$NODE/data"
  java -XX:TieredStopAtLevel=1 -cp "$JARS/*" kafka.tools.StorageTool format -t "$(cluster_id)" \
    -c "$CONFIG" >"$NODE/format.log" 2>&1 || { cat "$NODE/format.log" >&2; die "format failed"; }
}

# The first node leaves an archive of its loaded classes at its end; those after it start with it.
class_data_sharing() {
  local archive
  archive=$HOME_DIR/classes-$(kafka_version)-java$(java_major).jsa
  [ -e "$archive" ] && echo "-XX:SharedArchiveFile=$archive" ||
    echo "-XX:ArchiveClassesAtExit=$archive"
}

launch() {
  local heap=${HEADWATER_KAFKA_HEAP:-1g} options
  options=(-Xms256m -Xmx"$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Xshare:auto
    "$(class_data_sharing)" '-Xlog:disable' '-Xlog:all=error:stderr'
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info
    -Dorg.slf4j.simpleLogger.showDateTime=true)
  # In the node's folder, with no descriptor of ours: it outlives this script and its caller.
  (
    cd "$NODE"
    exec setsid java "${options[@]}" -cp "$JARS/*" kafka.Kafka "$CONFIG" \
      >"$LOG" 2>&1 </dev/null 3>&- 9>&-
  ) &
  echo $! >"$NODE/pid"
}

wait_ready() {
  local tries
  for ((tries = 0; tries < READY_WITHIN * 10; tries++)); do
    kill -0 "$(cat "$NODE/pid")" 2>/dev/null || break
    if grep -q 'Kafka Server started' "$LOG" && listens "$PORT"; then return; fi
    sleep 0.1
  done
  tail -n 20 "$LOG" >&2
  stop_node
  die "Kafka did not start; its whole log: $LOG"
}

start() {
  local began=$EPOCHREALTIME port
  running && { echo "already running: $(describe)"; return; }
  for port in "$PORT" "$CONTROLLER_PORT" "$LOGIN_PORT"; do
    ! listens "$port" || die "port $port is taken by another program; choose another with
    HEADWATER_KAFKA_PORT=19092 ./dev kafka start"
  done
  mkdir -p "$NODE"
  fetch_jars
  write_config
  { [ "$1" = keep ] && [ -e "$NODE/data/meta.properties" ]; } || format
  launch
  wait_ready
  echo "$(describe), ready in $(seconds_since "$began") s"
}
seconds_since() { awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $1 }"; }

stop() {
  running || { rm -f "$NODE/pid"; echo "not running on 127.0.0.1:$PORT"; return; }
  stop_node
  [ "$1" = keep ] || rm -rf "$NODE/data"
  echo "stopped"
}
stop_node() {
  local pid tries
  pid=$(cat "$NODE/pid")
  kill "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 200; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  ! running || kill -9 "$pid"
  rm -f "$NODE/pid"
}

status() {
  running || { echo "not running on 127.0.0.1:$PORT"; exit 1; }
  echo "running: $(describe)"
}

# tool CLASS ARGUMENTS...: one of Kafka's own command-line tools.
tool() {
  local class=$1
  shift
  fetch_jars
  exec java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
    -cp "$JARS/*" "$class" --bootstrap-server "127.0.0.1:$PORT" "$@"
}
consume() {
  [ $# -gt 0 ] || { usage >&2; exit 2; }
  local topic=$1
  shift
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --topic "$topic" --from-beginning \
    --isolation-level read_committed --formatter-property print.key=true "$@"
}

configure() {
  [ $# -eq 2 ] || { usage >&2; exit 2; }
  tool kafka.admin.ConfigCommand --alter --topic "$1" --add-config "$2"
}

delete() {
  [ $# -eq 1 ] || { usage >&2; exit 2; }
  tool org.apache.kafka.tools.TopicCommand --delete --topic "$1"
}

transactions() {
  local what=(list)
  case $# in
    1) what=(find-hanging --broker-id 1 --max-transaction-timeout "$1") ;;
    2) what=(describe-producers --topic "$1" --partition "$2") ;;
  esac
  tool org.apache.kafka.tools.TransactionsCommand "${what[@]}"
}

keep_of() {
  case "${1:-}" in
    '') echo drop ;;
    --keep) echo keep ;;
    *) usage >&2; return 2 ;;
  esac
}

command=${1:-}
[ $# -eq 0 ] || shift
case "$command" in
  start | stop) keep=$(keep_of "$@"); "$command" "$keep" ;;
  status) status ;;
  topics) tool org.apache.kafka.tools.TopicCommand --list ;;
  consume) consume "$@" ;;
  configure) configure "$@" ;;
  delete) delete "$@" ;;
  transactions) transactions "$@" ;;
  classpath) fetch_jars >&2; echo "$JARS/*" ;;
  *) usage >&2; exit 2 ;;
esac
