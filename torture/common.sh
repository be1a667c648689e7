# What the commands here share: sourced by each of them.
#
# A command prints what it does, how many tries it made, how long that took and what failed; it exits 0 if nothing did, 1 if
# something did, 2 if it could not begin. The first argument is how much: without one it is done within two minutes.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
target=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d "${TMPDIR:-/tmp}/caspian-torture.XXXXXX") || exit 2
launcher=${LAUNCHER:-$target/debug/caspian-net}
children=()
finish() {
  local pid
  for pid in "${children[@]-}"; do [ -z "$pid" ] || kill "$pid" 2>/dev/null || :; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

die() { echo "$0: $*" >&2; exit 2; }

# The launcher, as the tests have it.
build() { cargo build --quiet || die "the launcher does not build"; }

# verdict TRIES FAILURES WHAT: the last line, and the exit status.
verdict() {
  printf '%s: %d tries, %d failed, %d s\n' "$3" "$1" "$2" "$SECONDS"
  [ "$2" -eq 0 ] && [ "$1" -gt 0 ]
}
