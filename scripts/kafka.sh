#!/usr/bin/env bash
# ./dev kafka: Apache Kafka (KRaft, broker and controller in one process) on loopback, from Maven
# jars; one node, or a cluster. Everything it writes is under .headwater/kafka, one folder a port.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh
trap 'watched_end' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

usage() {
  cat <<'USAGE'
usage: ./dev kafka COMMAND

  start [--keep]       starts the node; ready when this returns. --keep: with the data and the
                       configuration it had
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
HEADWATER_KAFKA_NODES  how many nodes `start` and `stop` concern, default 1; each takes the three
                       ports after those of the previous one
HEADWATER_KAFKA_HEAP   heap of a node, default 1g
HEADWATER_KAFKA_PROPERTIES
                       more lines for the configuration of nodes that `start` makes
USAGE
}

FIRST_PORT=${HEADWATER_KAFKA_PORT:-9092}
NODES=${HEADWATER_KAFKA_NODES:-1}
HOME_DIR=$PWD/.headwater/kafka
JARS=$HOME_DIR/jars
READY_WITHIN=60

# Selects one of the nodes, by its number.
turn_to() {
  ID=$1
  PORT=$((FIRST_PORT + 3 * (ID - 1)))
  CONTROLLER_PORT=$((PORT + 1))
  LOGIN_PORT=$((PORT + 2))
  NODE=$HOME_DIR/$PORT
  CONFIG=$NODE/server.properties
  LOG=$NODE/out.log
}
turn_to 1

# Runs the arguments as a command for each node.
each() {
  local id
  for ((id = 1; id <= NODES; id++)); do
    turn_to "$id"
    "$@"
  done
  turn_to 1
}

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

# Every node as ID@HOST:PORT of its controller.
voters() {
  local id voters=()
  for ((id = 1; id <= NODES; id++)); do
    voters+=("$id@127.0.0.1:$((FIRST_PORT + 3 * (id - 1) + 1))")
  done
  (IFS=, && echo "${voters[*]}")
}

write_config() {
  # One node: every topic has one replica, or transactions and groups would never start.
  local replicas=$((NODES < 3 ? NODES : 3)) in_sync=$((NODES < 3 ? 1 : 2))
  cat >"$CONFIG" <<PROPERTIES
process.roles=broker,controller
node.id=$ID
controller.quorum.voters=$(voters)
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
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
# A group of one need not wait for others to join.
group.initial.rebalance.delay.ms=0
# Event times are in the past, so nothing may be deleted for its age.
log.retention.ms=-1
log.segment.delete.delay.ms=1000
${HEADWATER_KAFKA_PROPERTIES:-}
PROPERTIES
}

# Without '-', which would look like an option at the beginning.
cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'xy' | cut -c 1-22; }

# format CLUSTER
format() {
  rm -rf "$NODE/data" "$NODE/before.log" "$LOG"
  java -XX:TieredStopAtLevel=1 -cp "$JARS/*" kafka.tools.StorageTool format -t "$1" \
    -c "$CONFIG" >"$NODE/format.log" 2>&1 || { cat "$NODE/format.log" >&2; die "format failed"; }
}

# The first node leaves an archive of its loaded classes at its end. Later ones start with it.
class_data_sharing() {
  local archive
  archive=$HOME_DIR/classes-$(kafka_version)-java$(java_major).jsa
  if [ -e "$archive" ]; then
    echo "-XX:SharedArchiveFile=$archive"
  elif [ "$ID" = 1 ]; then
    echo "-XX:ArchiveClassesAtExit=$archive"
  else
    echo "-Xshare:auto"
  fi
}

launch() {
  local heap=${HEADWATER_KAFKA_HEAP:-1g} options
  options=(-Xms256m -Xmx"$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Xshare:auto
    "$(class_data_sharing)" '-Xlog:disable' '-Xlog:all=error:stderr'
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info
    # Logs a transaction that is left without its markers and hangs.
    -Dorg.slf4j.simpleLogger.log.kafka.coordinator.transaction.TransactionMarkerChannelManager=info
    -Dorg.slf4j.simpleLogger.showDateTime=true)
  # Its earlier output stays.
  [ ! -e "$LOG" ] || cat "$LOG" >>"$NODE/before.log"
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
    if grep -q 'Kafka Server started' "$LOG" && listens "$PORT"; then
      echo "$(describe), ready after $(seconds_since "$BEGAN") s"
      return
    fi
    sleep 0.1
  done
  tail -n 20 "$LOG" >&2
  stop_node
  die "Kafka did not start; its whole log: $LOG"
}

seconds_since() { awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $1 }"; }

start() {
  BEGAN=$EPOCHREALTIME
  fetch_jars
  each prepare "$1" "$(cluster_id)"
  each wait_ready
}

# prepare KEEP CLUSTER: launches a node that is not running yet.
prepare() {
  local port
  ! running || return 0
  for port in "$PORT" "$CONTROLLER_PORT" "$LOGIN_PORT"; do
    ! listens "$port" || die "port $port is taken by another program; choose another with
    HEADWATER_KAFKA_PORT=19092 ./dev kafka start"
  done
  mkdir -p "$NODE"
  if [ "$1" != keep ] || [ ! -e "$NODE/data/meta.properties" ]; then
    write_config
    format "$2"
  fi
  launch
}

stop() { each stop_one "$1"; }
stop_one() {
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
  case $# in
    0) transactions_tool list ;;
    1) each find_hanging "$1" ;;
    2) transactions_tool describe-producers --topic "$1" --partition "$2" ;;
  esac
}
transactions_tool() { (tool org.apache.kafka.tools.TransactionsCommand "$@"); }
find_hanging() {
  transactions_tool find-hanging --broker-id "$ID" --max-transaction-timeout "$1"
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
