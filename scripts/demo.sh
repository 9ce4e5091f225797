#!/usr/bin/env bash
# ./dev demo: the shop example. On the embedded log nothing native is compiled; on Kafka RocksDB
# and librdkafka are.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh
trap 'watched_end' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

features=(--no-default-features --features embedded)
for argument in "$@"; do
  case $argument in
    kafka://* | --broker=kafka://*) features=() ;;
  esac
done

if [ ${#features[@]} -gt 0 ]; then
  ensure_light
else
  ensure_native
fi
build=(cargo build --release --example shop ${features[@]+"${features[@]}"})
say "building the shop"
[ ${#features[@]} -gt 0 ] ||
  note "RocksDB and librdkafka take ten to thirty minutes on two cores, the first time"
watched "building" "${build[@]}"
say "the shop (Ctrl-C ends it)"
exec "$(target_dir)/release/examples/shop" "$@"
