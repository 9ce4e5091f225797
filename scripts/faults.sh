#!/usr/bin/env bash
# ./dev faults [--rounds N]: what a real broker and real processes go through: kill -9 at random
# moments and at every named step, N times each, frozen and lost instances, requests that get lost,
# held back and cut off, and the plain librdkafka loop under the same. Twenty rounds take a quarter
# of an hour.
set -euo pipefail
. scripts/lib.sh

while [ $# -gt 0 ]; do
  case $1 in
    --rounds) export HEADWATER_ROUNDS=${2:?--rounds needs a number}; shift 2 ;;
    *) die "unknown argument: $1" ;;
  esac
done

exec bash scripts/test.sh --test kafka_kill --test kafka_kill_at_every_step \
  --test kafka_faults_on_the_wire --test the_plain_loop_tears --test unconcerned_tasks_go_on
