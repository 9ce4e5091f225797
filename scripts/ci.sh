#!/usr/bin/env bash
# ./dev ci: what continuous integration runs. All parts run, so that one report has all failures.
set -euo pipefail
. scripts/lib.sh

# The counts are for x86-64; elsewhere there is nothing to compare with.
count() {
  if [ "$(uname -m)" = x86_64 ]; then
    bash scripts/bench.sh --check
  else
    note "NOT CHECKED: the accepted counts are for x86_64, this is $(uname -m)"
  fi
}

status=0
phase "lint (whole)"
bash scripts/lint.sh || status=1
phase "instruction counts (whole)"
count || status=1
phase "test (whole)"
bash scripts/test.sh || status=1
say "continuous integration: $([ $status = 0 ] && echo passed || echo failed)"
phases_print
exit $status
