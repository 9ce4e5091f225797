#!/usr/bin/env bash
# ./dev lint: what a reviewer should not have to say. Every step runs; the first failure decides
# the exit status.
set -euo pipefail
. scripts/lib.sh
. scripts/prerequisites.sh
trap 'watched_end' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

FAILED=()
step() {
  local name=$1
  shift
  phase "$name"
  watched "$name" "$@" || FAILED+=("$name")
}

documentation() {
  RUSTDOCFLAGS="-D warnings" step "documentation" cargo doc "${EVERYTHING[@]}" --no-deps
}

# The advisory database is a git repository on GitHub. If it cannot be reached and there is no copy,
# the output says that the advisories were not checked.
dependencies() {
  phase "cargo-deny"
  if ! cargo deny --version >/dev/null 2>&1; then
    note "cargo install cargo-deny (a few minutes, once)"
    # Not into the project's target folder.
    watched "building cargo-deny" env -u CARGO_TARGET_DIR cargo install cargo-deny --locked ||
      { FAILED+=("cargo-deny could not be installed"); return; }
  fi
  step "bans, licences, sources" cargo deny --all-features check bans licenses sources
  phase "advisories"
  if advisories_reachable; then
    step "advisories" cargo deny --all-features check advisories
  else
    note "NOT CHECKED: the advisory database cannot be reached, and there is no copy"
  fi
}
advisories_reachable() {
  compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/crates" >/dev/null ||
    GIT_TERMINAL_PROMPT=0 timeout 20 \
      git ls-remote -q https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1
}

# What a registry would get. Without a trial build, which would compile everything native again.
packages() {
  local package members=()
  for package in "" -streams-core -state -runtime -embedded -kafka-client -kafka -testkit; do
    members+=(-p "headwater$package")
  done
  step "packages" cargo package --quiet --offline --no-verify --allow-dirty "${members[@]}"
}

phase "prerequisites"
ensure_native
ensure_rust_component rustfmt rustfmt
ensure_rust_component cargo-clippy clippy
step "format" cargo fmt --all -- --check
step "clippy" cargo clippy "${EVERYTHING[@]}" --all-targets -- -D warnings
documentation
packages
dependencies

say "lint"
phases_print
[ ${#FAILED[@]} = 0 ] || die "failed: $(printf '%s; ' "${FAILED[@]}")"
note "clean"
