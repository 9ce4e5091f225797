# Runs a compiler, through ccache if it is there. Sourced by cc and c++ beside it.

cached() {
  command -v ccache >/dev/null 2>&1 || exec "$@"
  # Each checkout has folders of its own: their names must not make the same file another one.
  export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=/
  exec ccache "$@"
}
