# The jars of one version of Kafka, from Maven. Sourced by kafka.sh; VERSION and JARS are set there.

default_version() {
  sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' scripts/kafka/pom.xml
}

# jars_of VERSION: their folder.
jars_of() {
  [ "$1" = "$(default_version)" ] && echo "$HOME_DIR/jars" || echo "$HOME_DIR/jars-$1"
}

# Kafka brings a binding of its logger; ours writes to the node's log without a configuration file.
fetch_jars() {
  ensure_kafka
  [ "$(cat "$JARS/version" 2>/dev/null)" = "$VERSION" ] && return
  note "fetching Kafka $VERSION from Maven Central (about 55 MB, once)"
  rm -rf "$JARS"
  mkdir -p "$JARS"
  watched "fetching" mvn -q -B -f scripts/kafka/pom.xml -Dkafka.version="$VERSION" \
    dependency:copy-dependencies -DoutputDirectory="$JARS" -DincludeScope=runtime \
    -DexcludeArtifactIds=slf4j-log4j12,slf4j-reload4j || die "Maven could not fetch Kafka"
  echo "$VERSION" >"$JARS/version"
}

# is_at_least VERSION: whether the cluster's is that, or later.
is_at_least() { [ "$(printf '%s\n' "$1" "$VERSION" | sort -V | head -n 1)" = "$1" ]; }
