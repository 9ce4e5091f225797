# The ZooKeeper of clusters that are not KRaft: one process beside the first node, on the port that
# a controller would have. Sourced by kafka.sh.

zookeeper_settings() {
  ZOOKEEPER=$HOME_DIR/$FIRST_PORT/zookeeper
  ZOOKEEPER_PORT=$((FIRST_PORT + 1))
}

zookeeper_runs() {
  [ -s "$ZOOKEEPER/pid" ] && is_process "$(cat "$ZOOKEEPER/pid")" "$ZOOKEEPER/zoo.cfg"
}

# start_zookeeper KEEP
start_zookeeper() {
  zookeeper_settings
  ! zookeeper_runs || return 0
  ! listens "$ZOOKEEPER_PORT" || port_taken "$ZOOKEEPER_PORT"
  [ "$1" = keep ] || rm -rf "$ZOOKEEPER"
  mkdir -p "$ZOOKEEPER"
  # A broker that was killed cannot come back before its session ends: two ticks.
  cat >"$ZOOKEEPER/zoo.cfg" <<CONFIG
dataDir=$ZOOKEEPER/data
clientPortAddress=127.0.0.1
clientPort=$ZOOKEEPER_PORT
tickTime=500
maxClientCnxns=0
admin.enableServer=false
CONFIG
  (
    cd "$ZOOKEEPER"
    exec setsid java -Xmx256m -XX:TieredStopAtLevel=1 \
      -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$JARS/*" \
      org.apache.zookeeper.server.quorum.QuorumPeerMain "$ZOOKEEPER/zoo.cfg" \
      >>out.log 2>&1 </dev/null 3>&- 9>&-
  ) &
  echo $! >"$ZOOKEEPER/pid"
  wait_for_zookeeper
}

wait_for_zookeeper() {
  local tries
  for ((tries = 0; tries < READY_WITHIN * 10; tries++)); do
    ! listens "$ZOOKEEPER_PORT" || return 0
    zookeeper_runs || break
    sleep 0.1
  done
  tail -n 20 "$ZOOKEEPER/out.log" >&2
  die "ZooKeeper did not start; its whole log: $ZOOKEEPER/out.log"
}

# stop_zookeeper KEEP
stop_zookeeper() {
  zookeeper_settings
  [ -d "$ZOOKEEPER" ] || return 0
  ! zookeeper_runs || end_process "$(cat "$ZOOKEEPER/pid")" "$ZOOKEEPER/zoo.cfg"
  rm -f "$ZOOKEEPER/pid"
  [ "$1" = keep ] || rm -rf "$ZOOKEEPER"
}

zookeeper_config() {
  cat <<PROPERTIES
broker.id=$ID
zookeeper.connect=127.0.0.1:$((FIRST_PORT + 1))
zookeeper.session.timeout.ms=2000
# A broker that was just killed is still registered.
zookeeper.connection.timeout.ms=18000
PROPERTIES
}

# The user of SCRAM, before a broker runs that asks for it.
add_scram_to_zookeeper() {
  java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$JARS/*" \
    kafka.admin.ConfigCommand --zookeeper "127.0.0.1:$ZOOKEEPER_PORT" --alter \
    --entity-type users --entity-name "$USER_NAME" --add-config \
    "SCRAM-SHA-256=[password=$USER_PASSWORD],SCRAM-SHA-512=[password=$USER_PASSWORD]" \
    >"$ZOOKEEPER/scram.log" 2>&1 ||
    { cat "$ZOOKEEPER/scram.log" >&2; die "the user of SCRAM could not be made"; }
}
