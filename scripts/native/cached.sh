# Runs a compiler, through ccache if it is there. Sourced by cc and c++ beside it.

cached() {
  command -v ccache >/dev/null 2>&1 || exec "$@"
  # Each checkout has its own folders. Their names must not make ccache see a different file.
  export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=/
  exec ccache "$@"
}
