#!/usr/bin/env bash
# ./dev sim [--seeds N] [--seed S]: many simulated worlds, or one with everything that happens in it.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh

SEEDS=2000
AT_ONCE=()
while [ $# -gt 0 ]; do
  case $1 in
    --seeds) SEEDS=${2:?--seeds needs a number}; shift 2 ;;
    # One world: the output of others would mix with it.
    --seed) export HEADWATER_SEED=${2:?--seed needs a number}; AT_ONCE=(--test-threads=1); shift 2 ;;
    *) die "unknown argument: $1" ;;
  esac
done

ensure_light
HEADWATER_SEEDS=$SEEDS cargo test --release --no-default-features --features embedded \
  --test exactly_once_in_simulated_worlds --test inputs_in_simulated_worlds \
  --test tables_expire_in_simulated_worlds -- --nocapture "${AT_ONCE[@]}"
