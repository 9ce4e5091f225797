# The secured listeners of a cluster, and what a client needs for each. Sourced by kafka.sh.
#
#   SSL         encrypted; the broker shows its certificate
#   MUTUAL      the same, and asks for the client's
#   LOGIN       a name and a password, or a token, in the clear: SASL_PLAINTEXT
#   SASL_SSL    the same, encrypted
#   EXPIRED     as SSL, with a certificate that ended yesterday
#   OTHER_HOST  as SSL, with a certificate for another host

USER_NAME=headwater
USER_PASSWORD=water
# Offsets from the node's first port; CLIENTS, the controller and LOGIN have the first three.
SECURED=(SSL:3 MUTUAL:4 SASL_SSL:5 EXPIRED:6 OTHER_HOST:7)

# KRaft keeps passwords of SCRAM since 3.5.
mechanisms() {
  echo PLAIN
  if [ "$METADATA" = zookeeper ] || is_at_least 3.5; then
    printf '%s\n' SCRAM-SHA-256 SCRAM-SHA-512
  fi
  echo OAUTHBEARER
}

# The part of a node's configuration that concerns logins. Names of listeners are lower case there.
login_config() {
  local listener
  for listener in login sasl_ssl; do
    [ "$listener" = login ] || [ "$LISTENERS" = all ] || continue
    cat <<PROPERTIES
listener.name.$listener.sasl.enabled.mechanisms=$(login_mechanisms)
listener.name.$listener.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \\
  required user_$USER_NAME="$USER_PASSWORD";
PROPERTIES
    [ "$LISTENERS" = all ] || continue
    # Tokens without a signature: Kafka's own, for tests.
    cat <<PROPERTIES
listener.name.$listener.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \\
  required;
listener.name.$listener.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \\
  required;
listener.name.$listener.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule \\
  required unsecuredLoginStringClaim_sub="broker";
PROPERTIES
  done
}
login_mechanisms() {
  if [ "$LISTENERS" = all ]; then mechanisms | paste -sd,; else echo PLAIN; fi
}

tls_config() {
  [ "$LISTENERS" = all ] || return 0
  local of
  cat <<PROPERTIES
ssl.keystore.type=PEM
ssl.truststore.type=PEM
ssl.truststore.location=$CERTIFICATES/ca.pem
listener.name.mutual.ssl.client.auth=required
PROPERTIES
  for of in ssl:broker mutual:broker sasl_ssl:broker expired:expired other_host:other-host; do
    echo "listener.name.${of%:*}.ssl.keystore.type=PEM"
    of_certificate "listener.name.${of%:*}" "$CERTIFICATES/${of#*:}"
  done
}

# of_certificate PREFIX FILE: the key and the chain in the configuration itself. Kafka 2.8 does not
# read a file whose key has no password, and none reads every kind of password.
of_certificate() {
  echo "$1.ssl.keystore.key=$(on_one_line "$2.key")"
  echo "$1.ssl.keystore.certificate.chain=$(on_one_line "$2.pem")"
}
on_one_line() { awk '{ printf "%s\\n", $0 }' "$1"; }

# Each as NAME://127.0.0.1:PORT, without the controller's.
listener_addresses() {
  local secured addresses=("CLIENTS://127.0.0.1:$PORT" "LOGIN://127.0.0.1:$LOGIN_PORT")
  if [ "$LISTENERS" = all ]; then
    for secured in "${SECURED[@]}"; do
      addresses+=("${secured%:*}://127.0.0.1:$((PORT + ${secured#*:}))")
    done
  fi
  (IFS=, && echo "${addresses[*]}")
}

listener_protocols() {
  printf 'CLIENTS:PLAINTEXT,LOGIN:SASL_PLAINTEXT'
  [ "$LISTENERS" != all ] ||
    printf ',SSL:SSL,MUTUAL:SSL,SASL_SSL:SASL_SSL,EXPIRED:SSL,OTHER_HOST:SSL'
}

# everywhere OFFSET: this listener of every node, as HOST:PORT,...
everywhere() {
  local id all=()
  for ((id = 0; id < NODES; id++)); do
    all+=("127.0.0.1:$((FIRST_PORT + PORTS_OF_A_NODE * id + $1))")
  done
  (IFS=, && echo "${all[*]}")
}

# For people and scripts: cluster.env, where what is. For clients: clients/NAME.properties, one a
# listener and mechanism, in librdkafka's names.
describe_listeners() {
  local folder=$HOME_DIR/$FIRST_PORT mechanism
  rm -rf "$folder/clients"
  mkdir -p "$folder/clients"
  {
    echo "HEADWATER_KAFKA=$(everywhere 0)"
    echo "HEADWATER_KAFKA_LOGIN=$(everywhere 2)"
    echo "HEADWATER_KAFKA_SSL=$(everywhere 3)"
    echo "HEADWATER_KAFKA_MUTUAL=$(everywhere 4)"
    echo "HEADWATER_KAFKA_SASL_SSL=$(everywhere 5)"
    echo "HEADWATER_KAFKA_EXPIRED=$(everywhere 6)"
    echo "HEADWATER_KAFKA_OTHER_HOST=$(everywhere 7)"
    echo "HEADWATER_KAFKA_MECHANISMS=$(mechanisms | paste -sd,)"
    echo "HEADWATER_KAFKA_USER=$USER_NAME"
    echo "HEADWATER_KAFKA_PASSWORD=$USER_PASSWORD"
    echo "HEADWATER_KAFKA_CA=$CERTIFICATES/ca.pem"
    echo "HEADWATER_KAFKA_CLIENT_CERTIFICATE=$CERTIFICATES/client.pem"
    echo "HEADWATER_KAFKA_CLIENT_KEY=$CERTIFICATES/client.key"
    echo "HEADWATER_KAFKA_CLIENTS=$folder/clients"
  } >"$folder/cluster.env"
  client PLAINTEXT 0 plaintext ''
  client SSL 3 ssl ''
  client MUTUAL 4 ssl ''
  client EXPIRED 6 ssl ''
  client OTHER_HOST 7 ssl ''
  for mechanism in $(mechanisms); do
    client "SASL_PLAINTEXT-$mechanism" 2 sasl_plaintext "$mechanism"
    client "SASL_SSL-$mechanism" 5 sasl_ssl "$mechanism"
  done
  sed 's/^/   /' "$folder/cluster.env"
}

# client NAME OFFSET PROTOCOL MECHANISM
client() {
  {
    echo "bootstrap.servers=$(everywhere "$2")"
    echo "security.protocol=$3"
    [[ $3 != *ssl ]] || echo "ssl.ca.location=$CERTIFICATES/ca.pem"
    if [ "$1" = MUTUAL ]; then
      echo "ssl.certificate.location=$CERTIFICATES/client.pem"
      echo "ssl.key.location=$CERTIFICATES/client.key"
    fi
    [ -z "$4" ] || echo "sasl.mechanism=$4"
    case $4 in
      OAUTHBEARER)
        echo "enable.sasl.oauthbearer.unsecure.jwt=true"
        echo "sasl.oauthbearer.config=principal=$USER_NAME"
        ;;
      ?*)
        echo "sasl.username=$USER_NAME"
        echo "sasl.password=$USER_PASSWORD"
        ;;
    esac
  } >"$HOME_DIR/$FIRST_PORT/clients/$1.properties"
}
