# What the machine must have: found, or installed, or named. Sourced after lib.sh.

ensure_light() {
  ensure_packages "a C compiler, which Rust links with" has_linker gcc libc6-dev
  ensure_rust
}

ensure_native() {
  ensure_packages "a C and C++ tool chain" has_cxx gcc g++ libc6-dev make
  ensure_packages "libclang, for RocksDB's bindings" has_libclang libclang-dev
  ensure_packages "Perl, for OpenSSL's build" has_perl perl
  want_ccache
  ensure_rust
}

# Everything works without it, but each new checkout compiles RocksDB again.
want_ccache() {
  has_ccache && return
  note "missing: ccache, which keeps compiled C and C++ for the next checkout"
  apt_install ccache || note "continuing without it"
}

# Runs the broker of the tests and fetches it.
ensure_kafka() {
  ensure_packages "Java 17 or newer" has_java "$(java_package jre)"
  ensure_packages "Maven" has_maven maven
}

# Makes the certificates of its secured listeners.
ensure_openssl() {
  ensure_packages "OpenSSL" has_openssl openssl
}

# Compiles our use of Kafka Streams.
ensure_jdk() {
  ensure_packages "a Java compiler, 17 or newer" has_javac "$(java_package jdk)"
}

# Counts the instructions of the benchmarks.
ensure_valgrind() {
  ensure_packages "Valgrind" has_valgrind valgrind
}

has_linker() { command -v cc && [ -e /usr/include/stdio.h ]; } >/dev/null
has_cxx() { has_linker && command -v c++ && command -v make; } >/dev/null
has_maven() { command -v mvn; } >/dev/null
has_ccache() { command -v ccache; } >/dev/null
has_valgrind() { command -v valgrind; } >/dev/null
has_openssl() { command -v openssl; } >/dev/null
has_curl() { command -v curl; } >/dev/null
# perl-base, which every Debian has, is not enough for OpenSSL's Configure.
has_perl() { perl -MFindBin -MIPC::Cmd -MPod::Usage -e 1; } 2>/dev/null
has_java() { [ "$(java_major)" -ge 17 ]; }
has_javac() {
  local version
  version=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p') || true
  [ "${version:-0}" -ge 17 ]
}
# By the names that bindgen looks for. libclang-cpp, which other packages install, is not enough.
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  local folder
  for folder in /usr/lib/llvm-*/lib /usr/lib /usr/lib64 /usr/lib/*-linux-gnu; do
    compgen -G "$folder/libclang.so*" || compgen -G "$folder/libclang-[0-9]*.so*" || continue
    return
  done
  return 1
} >/dev/null

java_major() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true
  echo "${version:-0}"
}
# java_package jre|jdk
java_package() {
  local version
  for version in 21 17; do
    has_candidate "openjdk-$version-$1-headless" || continue
    echo "openjdk-$version-$1-headless"
    return
  done
  echo "default-$1-headless"
}

has_candidate() {
  command -v apt-cache >/dev/null || return 1
  apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

# ensure_packages WHAT CHECK PACKAGES...
ensure_packages() {
  local what=$1 check=$2
  shift 2
  "$check" && return
  note "missing: $what"
  apt_install "$@" || die "$what is needed, and could not be installed. As root, run
    apt-get update && apt-get install -y $*
(other systems: the packages of the same meaning), then start this command again."
  "$check" || die "$what is still not found after installing: $*"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Never asks anything, never removes a package, waits for another apt-get instead of failing.
apt_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || return 1
  if [ -z "${APT_UPDATED:-}" ]; then
    note "apt-get update"
    apt_quietly update || return 1
    APT_UPDATED=1
  fi
  note "apt-get install $*"
  apt_quietly install -y --no-install-recommends --no-remove "$@"
}
apt_quietly() {
  local log status=0
  log=$(mktemp)
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1 || status=$?
  [ $status = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  return $status
}

rust_wanted() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml; }
rust_found() { rustc --version 2>/dev/null | cut -d' ' -f2; }
rust_found_or_none() { rust_found | grep . || echo none; }
has_rust() {
  local found
  found=$(rust_found) && [ -n "$found" ] && command -v cargo >/dev/null || return 1
  [ "$(printf '%s\n' "$(rust_wanted)" "${found%%-*}" | sort -V | head -n 1)" = "$(rust_wanted)" ]
}

# In this order: what is installed, rustup's stable tool chain, Debian's rustup, rustup's installer.
ensure_rust() {
  has_rust && return
  PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  has_rust && return
  note "missing: Rust $(rust_wanted) or newer (found: $(rust_found_or_none))"
  note "(the rustc package of Debian and Ubuntu is older than that)"
  command -v rustup >/dev/null || { has_candidate rustup && apt_install rustup ca-certificates; } ||
    rustup_download || rust_missing
  # A tool chain of ours beside the user's default, which stays as it is.
  export RUSTUP_TOOLCHAIN=stable
  note "rustup toolchain install stable"
  rustup -q toolchain install stable --profile minimal --no-self-update || rust_missing
  hash -r
  has_rust || rust_missing
}

rustup_download() {
  local url script
  ensure_packages "curl, to fetch rustup" has_curl curl ca-certificates
  script=$(mktemp)
  for url in https://sh.rustup.rs https://static.rust-lang.org/rustup/rustup-init.sh; do
    note "rustup from $url"
    curl --proto '=https' --tlsv1.2 -sSfL --connect-timeout 15 -o "$script" "$url" || continue
    RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$script" -q -y --no-modify-path --profile minimal \
      --default-toolchain stable </dev/null || continue
    rm -f "$script"
    return 0
  done
  rm -f "$script"
  return 1
}

rust_missing() {
  die "Rust $(rust_wanted) or newer is needed (found: $(rust_found_or_none)), and rustup
could not be installed. Install it from https://rustup.rs, or on Debian 13 and Ubuntu 24.04 with
    apt-get install -y rustup && rustup toolchain install stable
then start this command again."
}

# ensure_rust_component PROGRAM COMPONENT: rustfmt and clippy, which the minimal profile lacks.
ensure_rust_component() {
  "$1" --version >/dev/null 2>&1 && return
  note "rustup component add $2"
  rustup component add "$2" || die "$1 is needed: rustup component add $2"
}
