#!/usr/bin/env bash
# ./dev bench: what Headwater's parts cost. docs/benchmarks.md has figures.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh
trap 'cleanup' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

usage() {
  cat <<'USAGE'
usage: ./dev bench [PATTERN]    times the micro-benchmarks whose names have PATTERN (criterion)
       ./dev bench --check      counts their instructions, and fails where a count has grown by
                                more than 5 % over bench/instructions.toml
       ./dev bench --accept     writes the counts into bench/instructions.toml
       ./dev bench --growth [keys] [partitions] [operators] [instances] [commits]
                                how the cost of a record grows, in CPU time
USAGE
}

BASELINE=bench/instructions.toml
PER_CENT=5
# How many rounds of each workload are counted.
ROUNDS=3
COUNTS=

cleanup() {
  watched_end
  # A program that was ended may still be writing.
  [ -z "$COUNTS" ] || rm -rf "$COUNTS" 2>/dev/null || true
}

# The C library copies with the widest instructions that the processor has. They are disabled here,
# so that every x86-64 counts the same. Older C libraries know them by the names with _Usable, and
# each ignores the names that it does not know.
PLAIN_PROCESSOR=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM
PLAIN_PROCESSOR+=,-AVX512F_Usable,-AVX2_Usable,-AVX_Usable,-AVX_Fast_Unaligned_Load

# count_one PROGRAM FOLDER NAME ROUNDS: "name instructions-per-element" into its own file.
count_one() {
  local program=$1 out=$2/${3//\//.} elements instructions
  elements=$(GLIBC_TUNABLES=$PLAIN_PROCESSOR valgrind --tool=callgrind \
    --callgrind-out-file="$out.callgrind" --toggle-collect='*measured_part*' \
    --log-file="$out.log" "$program" "$3" "$4") || { cat "$out.log" >&2; return 1; }
  instructions=$(sed -n 's/^totals: *//p' "$out.callgrind")
  [ "${instructions:-0}" -gt 0 ] || { echo "$3: nothing was counted" >&2; return 1; }
  awk -v name="$3" -v n="$instructions" -v of="$elements" \
    'BEGIN { printf "%s %.1f\n", name, n / of }' >"$out.count"
}
export -f count_one
export PLAIN_PROCESSOR

# All counts, in the order of the workloads, into $COUNTS/all.
count() {
  local program name
  [ "$(uname -m)" = x86_64 ] || die "instructions are counted on x86_64 only"
  ensure_light
  ensure_valgrind
  COUNTS=$(mktemp -d)
  # Without RocksDB: it chooses its instructions by the processor, and has its own threads.
  watched "building" cargo build --release -p bench --bin instructions
  program=$(target_dir)/release/instructions
  "$program" >"$COUNTS/names"
  # shellcheck disable=SC2016 # expanded by the inner bash
  watched "counting" bash -c 'xargs -P "$(nproc)" -I NAME \
    bash -c "count_one \"\$@\"" _ "$1" "$2" NAME "$3" <"$2/names"' \
    _ "$program" "$COUNTS" "$ROUNDS" || die "not all workloads could be counted"
  while read -r name; do cat "$COUNTS/${name//\//.}.count"; done <"$COUNTS/names" >"$COUNTS/all"
}

accept() {
  {
    cat <<'HEAD'
# Instructions for each record, value or entry, as Valgrind counts them. ./dev bench --check fails
# where a count has grown by more than 5 %. If that is intended, write this file again with
# ./dev bench --accept, in the same commit, and say why there.
HEAD
    printf '\nrustc = "%s"\n\n[instructions]\n' "$(rust_found)"
    awk '{ printf "\"%s\" = %s\n", $1, $2 }' "$COUNTS/all"
  } >"$BASELINE"
  say "accepted: $BASELINE"
}

# Both are lists of names and numbers. Prints each workload, followed by what is wrong with it.
compare() {
  awk -v limit="$PER_CENT" '
    FILENAME == ARGV[1] { old[$1] = $2; next }
    { seen[$1] = 1 }
    !($1 in old) { bad++; printf "   %-32s %11s %11.1f  NEW, not accepted\n", $1, "-", $2; next }
    {
      change = 100 * ($2 - old[$1]) / old[$1]
      word = change > limit ? "  GROWN" : change < -limit ? "  fallen: accept it" : ""
      if (change > limit) bad++
      printf "   %-32s %11.1f %11.1f %+7.1f %%%s\n", $1, old[$1], $2, change, word
    }
    END {
      for (name in old) if (!(name in seen)) {
        bad++
        printf "   %-32s %11.1f %11s  GONE, not accepted\n", name, old[name], "-"
      }
      exit bad > 0
    }
  ' <(sed -n 's/^"\(.*\)" = \([0-9.]*\)$/\1 \2/p' "$BASELINE") "$COUNTS/all"
}

check() {
  local then
  then=$(sed -n 's/^rustc = "\(.*\)"/\1/p' "$BASELINE")
  printf '   %-32s %11s %11s %9s\n' "instructions for each" accepted now change
  compare && return
  if [ "$then" != "$(rust_found)" ]; then
    note "the accepted counts are from rustc $then, this is $(rust_found): differences do not count"
    return
  fi
  die "instruction counts differ from $BASELINE by more than is allowed. If that is intended:
    ./dev bench --accept
and say why in the commit."
}

growth() {
  ensure_native
  watched "building" cargo build "${EVERYTHING[@]}" --bin growth
  watched "growing" "$(target_dir)/release/growth" "$@"
}

times() {
  ensure_native
  watched "building" cargo bench --profile release --workspace --all-features --bench micro --no-run
  watched "measuring" cargo bench --profile release --workspace --all-features --bench micro -- "$@"
}

case "${1:-}" in
  --check) count; check ;;
  --accept) count; accept ;;
  --growth) shift; growth "$@" ;;
  -h | --help) usage ;;
  --*) usage >&2; exit 2 ;;
  *) times "$@" ;;
esac
