#!/usr/bin/env bash
# ./dev mutants [PATTERN]: plants each of the bugs in tests/mutants/*.txt whose name matches, in a
# copy of the sources, runs the suite that must catch it, and prints which were caught.
#
# Before its bugs a file says what must catch them, and may say something else before others:
#   suite ARGUMENTS    what `cargo test` is given
#   tests ARGUMENTS    what the test programs are given; each suite begins without
#   seeds N            how many seeds a simulation runs
#   env NAME=VALUE     for the suite; of several words, a line each
#   within SECONDS     a suite that takes longer is ended: that is caught, too, as a time-out
#   broker yes         the suite needs a real broker: one is started, or HEADWATER_KAFKA names it
# A bug is a line `= its name`, then one or more of: the source file, `- text` that occurs in it
# exactly once, `+ text` that takes its place (`\n` in either is a new line).
set -euo pipefail
. scripts/lib.sh
. scripts/broker.sh

ROOT=$PWD
TREE=$ROOT/target/mutants
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
LOG=$ROOT/.headwater/mutants.log
PATTERN=${1:-.}

# A worktree of what is checked in; only the workspace's own crates are built again for it.
fresh_tree() {
  git worktree remove --force "$TREE" 2>/dev/null || rm -rf "$TREE"
  git worktree prune
  git worktree add --quiet --detach "$TREE" HEAD
}

# plant FILE OLD NEW: fails unless OLD occurs exactly once.
plant() {
  OLD=$2 NEW=$3 perl -0777 -i -pe '
    BEGIN { ($old, $new) = map { s/\\n/\n/gr } @ENV{"OLD", "NEW"} }
    $count = () = /\Q$old\E/g;
    die "$ARGV: occurs $count times: $old\n" if $count != 1;
    s/\Q$old\E/$new/;
  ' "$TREE/$1"
}

# In the copy, but with the jars of Kafka that are here already.
run_suite() {
  mkdir -p "$TREE/.headwater/kafka"
  [ -e "$TREE/.headwater/kafka/jars" ] || [ ! -e "$ROOT/.headwater/kafka/jars" ] ||
    ln -s "$ROOT/.headwater/kafka/jars" "$TREE/.headwater/kafka/jars"
  # shellcheck disable=SC2086 # the suite and its tests are lists of arguments
  (cd "$TREE" && env HEADWATER_SEEDS="$SEEDS" "${ENVIRONMENT[@]}" \
    timeout --kill-after=10 "$1" cargo test --release --no-fail-fast $SUITE ${2:-} -- $TESTS)
}

# Prints what the suite said of the planted bug: caught by which tests, or that it survived.
verdict() {
  local status=0 failed
  # Building does not count.
  if ! run_suite 1800 --no-run >"$LOG" 2>&1; then
    echo "DOES NOT COMPILE"
    return
  fi
  run_suite "$WITHIN" >"$LOG" 2>&1 || status=$?
  if [ "$status" = 0 ]; then
    echo "SURVIVED"
  elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
    echo "caught: not done within $WITHIN s"
  else
    # A stack overflow or an abort ends the program before it can say which test failed.
    failed=$(grep -aE '^test .* FAILED$' "$LOG" | sed -E 's/^test (.*) \.\.\. FAILED$/\1/' | sort -u |
      paste -sd, | sed 's/,/, /g') || true
    if [ -n "$failed" ]; then
      echo "caught: $failed"
    elif grep -aqE '\(signal: [0-9]+, SIG' "$LOG"; then
      echo "caught: its program was ended by a signal"
    else
      echo "NOT RUN, see ${LOG#"$ROOT"/}"
    fi
  fi
}

judge() {
  [ -n "$NAME" ] || return 0
  [ -z "$BROKER" ] || [ -n "${HEADWATER_KAFKA:-}" ] || some_broker
  local said
  said=$(verdict)
  TOTAL=$((TOTAL + 1))
  case $said in caught:*) CAUGHT=$((CAUGHT + 1)) ;; esac
  printf '%-66s %s\n' "$NAME" "$said"
  git -C "$TREE" checkout --quiet .
  NAME=
}

run_file() {
  local line file='' old=''
  NAME='' SUITE='' TESTS='' SEEDS=8 WITHIN=1800 BROKER='' ENVIRONMENT=(HEADWATER_MUTANT=yes)
  while IFS= read -r line <&3; do
    case $line in
      'suite '*) judge && SUITE=${line#suite } TESTS='' ENVIRONMENT=(HEADWATER_MUTANT=yes) ;;
      'tests '*) judge && TESTS=${line#tests } ;;
      'seeds '*) judge && SEEDS=${line#seeds } ;;
      'within '*) judge && WITHIN=${line#within } ;;
      'env '*) judge && ENVIRONMENT+=("${line#env }") ;;
      'broker yes') BROKER=yes ;;
      '= '*)
        judge
        NAME=${line#= }
        grep -qiE -- "$PATTERN" <<<"$NAME" || NAME=
        ;;
      '- '*) old=${line#- } ;;
      '+ '*) [ -z "$NAME" ] || plant "$file" "$old" "${line#+ }" ;;
      '' | '#'*) ;;
      *) file=$line ;;
    esac
  # The list is read at once: it may be edited while its bugs are planted.
  done 3<<<"$(cat "$1")"
  judge
}

TOTAL=0 CAUGHT=0
mkdir -p "${LOG%/*}"
fresh_tree
trap 'cleanup; git worktree remove --force "$TREE" 2>/dev/null || true' EXIT
for list in ${LISTS:-tests/mutants/*.txt}; do
  run_file "$list"
done
echo
echo "$CAUGHT of $TOTAL caught"
[ "$CAUGHT" = "$TOTAL" ]
