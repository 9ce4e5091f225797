#!/usr/bin/env bash
# ./dev faults [--rounds N]: what a real broker and real processes go through, each fault N times:
# kill -9 at random moments and at every named step; kills, freezes, a broker that dies, full
# disks and damaged files; requests that get lost, refused, held back and cut off, with both
# transaction protocols; the plain librdkafka loop under the same; deleted topics, changed topologies, a
# large table; agents, calls, retries and ticks under kill -9. A round takes about fifteen minutes.
set -euo pipefail
. scripts/lib.sh

while [ $# -gt 0 ]; do
  case $1 in
    --rounds) export HEADWATER_ROUNDS=${2:?--rounds needs a number}; shift 2 ;;
    *) die "unknown argument: $1" ;;
  esac
done

export HEADWATER_BROKER_DIES=1 HEADWATER_LONG=1 HEADWATER_KILLS=${HEADWATER_KILLS:-50}
exec bash scripts/test.sh --test kafka_kill --test kafka_kill_at_every_step \
  --test kafka_fault_matrix --test kafka_faults_on_the_wire --test the_plain_loop_tears \
  --test kafka_deleted_topics_are_errors --test changed_topologies_are_refused \
  --test kafka_recovers_a_large_table --test unconcerned_tasks_go_on \
  --test kafka_renamed_members_restart --test kafka_absent_members_join_again \
  --test agents_lose_nothing_by_kill_9 --test kafka_agents_lose_nothing_by_kill_9 \
  --test kafka_retries_survive_kills --test kafka_ticks_happen_once
