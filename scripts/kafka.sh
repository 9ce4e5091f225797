#!/usr/bin/env bash
# ./dev kafka: Apache Kafka on loopback, from Maven jars; one node, or a cluster. KRaft (broker and
# controller in one process), or beside a ZooKeeper for old versions. Everything it writes is under
# .headwater/kafka, one folder a port.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh
. scripts/kafka/jars.sh
. scripts/kafka/zookeeper.sh
. scripts/kafka/certificates.sh
. scripts/kafka/listeners.sh
trap 'watched_end' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

usage() {
  cat <<'USAGE'
usage: ./dev kafka COMMAND

  start [--keep] [--version VERSION] [--zookeeper] [--listeners all]
                       starts the node; ready when this returns. --keep: with the data and the
                       configuration it had. --version: of Kafka, from 2.8 on. --zookeeper: not
                       KRaft; versions before 3.3 have no other way. --listeners all: with TLS
                       and every mechanism of SASL; prints, and writes to .headwater/kafka/PORT,
                       cluster.env with the addresses and certificates, and clients/ with the
                       properties of a client of each listener
  stop [--keep]        stops it, and removes its data unless --keep
  status               says whether it runs; exit status 1 if not
  topics               lists the topics
  consume TOPIC [...]  prints key and value of what is committed, from the beginning, until Ctrl-C;
                       more arguments go to Kafka's console consumer
  configure TOPIC NAME=VALUE
                       changes a setting of a topic
  quota CLIENT NAME=VALUE ...
                       limits the clients of this client.id, at each node: producer_byte_rate and
                       consumer_byte_rate, in bytes a second; request_percentage, of the time of
                       one thread
  delete TOPIC         deletes a topic
  transactions [MINUTES | TOPIC PARTITION]
                       lists transactions and their states; or those that hang for longer, and
                       their coordinator does not know of; or the producers of a partition
  classpath            prints the class path of Kafka's jars

HEADWATER_KAFKA_PORT   port of the node, default 9092; its controller takes the next one, and the
                       one after that asks for a name and a password (SASL PLAIN: headwater, water)
HEADWATER_KAFKA_NODES  how many nodes `start` and `stop` concern, default 1; each takes the ports
                       after those of the previous one: three, or eight with all listeners
HEADWATER_KAFKA_HEAP   heap of a node, default 1g
HEADWATER_KAFKA_PROPERTIES
                       more lines for the configuration of nodes that `start` makes
USAGE
}

FIRST_PORT=${HEADWATER_KAFKA_PORT:-9092}
NODES=${HEADWATER_KAFKA_NODES:-1}
HOME_DIR=$PWD/.headwater/kafka
CERTIFICATES=$HOME_DIR/$FIRST_PORT/certificates
READY_WITHIN=60

# What the cluster is: as it was made, or a plain node of the default version.
VERSION=$(default_version) METADATA=kraft LISTENERS=plain
[ ! -e "$HOME_DIR/$FIRST_PORT/made" ] ||
  read -r VERSION METADATA LISTENERS <"$HOME_DIR/$FIRST_PORT/made"
# After a change of these.
choose() {
  JARS=$(jars_of "$VERSION")
  PORTS_OF_A_NODE=3
  [ "$LISTENERS" != all ] || PORTS_OF_A_NODE=8
}
choose

# Selects one of the nodes, by its number.
turn_to() {
  ID=$1
  PORT=$((FIRST_PORT + PORTS_OF_A_NODE * (ID - 1)))
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
running() { [ -s "$NODE/pid" ] && is_process "$(cat "$NODE/pid")" "$CONFIG"; }
# is_process PID ARGUMENT: whether it runs, and was started with this argument.
is_process() { tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF "$2"; }
describe() { echo "Kafka $VERSION on 127.0.0.1:$PORT, pid $(cat "$NODE/pid")"; }

# Every node as ID@HOST:PORT of its controller.
voters() {
  local id voters=()
  for ((id = 1; id <= NODES; id++)); do
    voters+=("$id@127.0.0.1:$((FIRST_PORT + PORTS_OF_A_NODE * (id - 1) + 1))")
  done
  (IFS=, && echo "${voters[*]}")
}

kraft_config() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=$ID
controller.quorum.voters=$(voters)
controller.listener.names=CONTROLLER
PROPERTIES
}

write_config() {
  # One node: every topic has one replica, or transactions and groups would never start.
  local replicas=$((NODES < 3 ? NODES : 3)) in_sync=$((NODES < 3 ? 1 : 2)) addresses protocols
  addresses=$(listener_addresses)
  protocols=$(listener_protocols)
  local of_controller='' protocol_of_controller=''
  if [ "$METADATA" = kraft ]; then
    of_controller=,CONTROLLER://127.0.0.1:$CONTROLLER_PORT
    protocol_of_controller=,CONTROLLER:PLAINTEXT
  fi
  cat >"$CONFIG" <<PROPERTIES
$("${METADATA}_config")
listeners=$addresses$of_controller
advertised.listeners=$addresses
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=$protocols$protocol_of_controller
$(login_config)
$(tls_config)
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
  [ "$METADATA" = kraft ] || return 0
  local users=() mechanism
  if [ "$LISTENERS" = all ] && mechanisms | grep -q SCRAM; then
    for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
      users+=(--add-scram "$mechanism=[name=$USER_NAME,password=$USER_PASSWORD]")
    done
  fi
  java -XX:TieredStopAtLevel=1 -cp "$JARS/*" kafka.tools.StorageTool format -t "$1" \
    -c "$CONFIG" "${users[@]}" >"$NODE/format.log" 2>&1 || { cat "$NODE/format.log" >&2; die "format failed"; }
}

# The first node leaves an archive of its loaded classes at its end. Later ones start with it.
class_data_sharing() {
  local archive
  archive=$HOME_DIR/classes-$VERSION-java$(java_major).jsa
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
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaServer=info
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
    if has_started && listens "$PORT"; then
      echo "$(describe), ready after $(seconds_since "$BEGAN") s"
      return
    fi
    sleep 0.1
  done
  tail -n 20 "$LOG" >&2
  stop_node
  die "Kafka did not start; its whole log: $LOG"
}

# With ZooKeeper the words are others.
has_started() {
  grep -q -e 'Kafka Server started' -e 'KafkaServer id=[0-9]*\] started' "$LOG"
}

seconds_since() { awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $1 }"; }

start() {
  BEGAN=$EPOCHREALTIME
  fetch_jars
  mkdir -p "$NODE"
  # A node of a larger cluster that starts again by itself finds what it was made with.
  if [ "$1" != keep ] || [ ! -e "$CONFIG" ]; then
    is_new=yes
    running || rm -rf "$CERTIFICATES" "$NODE/clients" "$NODE/cluster.env"
    [ "$LISTENERS" != all ] || { ensure_openssl; running || make_certificates "$CERTIFICATES"; }
  fi
  [ "$METADATA" = kraft ] || ! needs_own_zookeeper || start_own_zookeeper "$1"
  each prepare "$1" "$(cluster_id)"
  each wait_ready
  [ "$LISTENERS" != all ] || [ -z "${is_new:-}" ] || describe_listeners
}

# The node's configuration says where its ZooKeeper is: beside the first node of its cluster.
needs_own_zookeeper() {
  [ -n "${is_new:-}" ] || grep -qxF "zookeeper.connect=127.0.0.1:$CONTROLLER_PORT" "$CONFIG"
}
start_own_zookeeper() {
  start_zookeeper "$1"
  [ -z "${is_new:-}" ] || [ "$LISTENERS" != all ] || add_scram_to_zookeeper
}

# prepare KEEP CLUSTER: launches a node that is not running yet.
prepare() {
  local port
  ! running || return 0
  for ((port = PORT; port < PORT + PORTS_OF_A_NODE; port++)); do
    ! listens "$port" || is_zookeepers "$port" || port_taken "$port"
  done
  mkdir -p "$NODE"
  if [ "$1" != keep ] || [ ! -e "$NODE/data/meta.properties" ]; then
    echo "$VERSION $METADATA $LISTENERS" >"$NODE/made"
    write_config
    format "$2"
  fi
  launch
}

is_zookeepers() { [ "$METADATA" = zookeeper ] && [ "$1" = $((FIRST_PORT + 1)) ]; }
port_taken() {
  die "port $1 is taken by another program; choose another with
    HEADWATER_KAFKA_PORT=19092 ./dev kafka start"
}

stop() {
  each stop_one "$1"
  [ "$METADATA" = kraft ] || stop_zookeeper "$1"
}
stop_one() {
  running || { rm -f "$NODE/pid"; echo "not running on 127.0.0.1:$PORT"; return; }
  stop_node
  [ "$1" = keep ] || rm -rf "$NODE/data"
  echo "stopped"
}
stop_node() {
  end_process "$(cat "$NODE/pid")" "$CONFIG"
  rm -f "$NODE/pid"
}
# end_process PID ARGUMENT: politely; after twenty seconds not.
end_process() {
  local tries
  kill "$1" 2>/dev/null || true
  for ((tries = 0; tries < 200; tries++)); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  ! is_process "$1" "$2" || kill -9 "$1"
}

status() {
  running || { echo "not running on 127.0.0.1:$PORT"; exit 1; }
  echo "running: $(describe)"
}

# tool CLASS ARGUMENTS...: one of Kafka's own command-line tools, of the default version: it works
# with every broker, and has one set of options.
tool() {
  local class=$1
  shift
  fetch_tools
  exec java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
    -cp "$JARS/*" "$class" --bootstrap-server "127.0.0.1:$PORT" "$@"
}
fetch_tools() {
  VERSION=$(default_version)
  JARS=$(jars_of "$VERSION")
  fetch_jars
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

quota() {
  [ $# -ge 2 ] || { usage >&2; exit 2; }
  local client=$1
  shift
  tool kafka.admin.ConfigCommand --alter --entity-type clients --entity-name "$client" \
    --add-config "$(IFS=, && echo "$*")"
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

# start_as OPTIONS...: what is not said is as it was, if it is kept, or else the default.
start_as() {
  local keep=drop version='' metadata='' listeners=''
  while [ $# -gt 0 ]; do
    case $1 in
      --keep) keep=keep; shift ;;
      --version) version=${2:?--version needs one}; shift 2 ;;
      --zookeeper) metadata=zookeeper; shift ;;
      --listeners) listeners=${2:?--listeners needs one}; shift 2 ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  case $listeners in '' | plain | all) ;; *) usage >&2; exit 2 ;; esac
  if [ $keep = drop ] && ! running; then
    VERSION=${version:-$(default_version)} METADATA=${metadata:-kraft}
    LISTENERS=${listeners:-plain}
    is_at_least 3.3 || METADATA=zookeeper
    [ "$METADATA" = kraft ] || ! is_at_least 4.0 || die "Kafka 4 has no ZooKeeper"
    choose
    turn_to 1
  fi
  start $keep
}

command=${1:-}
[ $# -eq 0 ] || shift
case "$command" in
  start) start_as "$@" ;;
  stop) keep=$(keep_of "$@"); stop "$keep" ;;
  status) status ;;
  topics) tool org.apache.kafka.tools.TopicCommand --list ;;
  consume) consume "$@" ;;
  configure) configure "$@" ;;
  quota) quota "$@" ;;
  delete) delete "$@" ;;
  transactions) transactions "$@" ;;
  classpath) fetch_tools >&2; echo "$JARS/*" ;;
  *) usage >&2; exit 2 ;;
esac
