#!/usr/bin/env bash
# ./dev ci: what continuous integration runs. Both parts run, so that one report has all failures.
set -euo pipefail
. scripts/lib.sh

status=0
phase "lint (whole)"
bash scripts/lint.sh || status=1
phase "test (whole)"
bash scripts/test.sh || status=1
say "continuous integration: $([ $status = 0 ] && echo passed || echo failed)"
phases_print
exit $status
