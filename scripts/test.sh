#!/usr/bin/env bash
# ./dev test: builds everything once, runs every test with a real broker beside it, sums up.
# HEADWATER_KAFKA=HOST:PORT uses that broker instead of starting one.
set -euo pipefail
. scripts/lib.sh
. scripts/broker.sh
. scripts/prerequisites.sh

LOG=$PWD/.headwater/test.log

# Shown and kept, because the summary is counted from the log.
run_tests() {
  # shellcheck disable=SC2016 # expanded by the inner bash
  watched "testing" bash -o pipefail -c 'log=$1; shift; "$@" 2>&1 | tee "$log"' tests "$LOG" \
    cargo test "${EVERYTHING[@]}" --no-fail-fast "$@"
}

# Prints passed, failed and ignored over all test programs. One that ended without its result line
# (a crash, a kill) counts as a failure.
count_results() {
  awk '
    /^ *(Running|Doc-tests) / { started++ }
    /^test result: / {
      ended++
      for (i = 1; i < NF; i++) {
        if ($(i + 1) ~ /^passed/) passed += $i
        if ($(i + 1) ~ /^failed/) failed += $i
        if ($(i + 1) ~ /^ignored/) ignored += $i
      }
    }
    END { print passed + 0, failed + (started > ended ? started - ended : 0), ignored + 0 }
  ' "$1"
}

summary() {
  local status=$1 passed failed ignored
  read -r passed failed ignored < <(count_results "$LOG")
  # A test that did not compile, or nothing that ran, is a failure that no test counted.
  [ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
  [ "$passed" -gt 0 ] || [ "$failed" -gt 0 ] || failed=1
  say "summary"
  phases_print
  printf '   %s\n' "ignored: $ignored" "log: $LOG"
  grep -E '^test .* FAILED$' "$LOG" | sed 's/^/   /' || true
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
}

main() {
  local status=0
  mkdir -p "${LOG%/*}"
  : >"$LOG"
  phase "prerequisites"
  ensure_native
  [ -n "${HEADWATER_KAFKA:-}" ] || ensure_kafka
  phase "build"
  note "RocksDB, librdkafka and OpenSSL take twenty to thirty-five minutes on two cores, the first time"
  watched "building" cargo test "${EVERYTHING[@]}" --no-run "$@" || status=$?
  if [ $status = 0 ]; then
    phase "broker"
    some_broker && phase "tests" && run_tests "$@" || status=$?
    phase "broker's end"
    cleanup
  fi
  summary $status
}
main "$@"
