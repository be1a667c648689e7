# What the examples with a server share: builds the launcher, makes a directory to work in, and takes both away at the end.
# part of: api.sh, chat.sh, download.sh, mail.sh, mirror.sh, notes.sh, room.sh, site.sh, tour.sh, upload.sh, workers.sh
# shellcheck shell=sh
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet
caspian_net=${CARGO_TARGET_DIR:-target}/debug/caspian-net

work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || :
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

# serve [FLAG…] SCRIPT: starts a server on loopback; the first line that it writes, its ports, is in $port and $other.
serve() {
  mkfifo "$work/ports"
  "$caspian_net" --allow-listen=127.0.0.1:0 "$@" >"$work/ports" &
  server=$!
  # shellcheck disable=SC2034 # for whoever serves on two
  read -r port other <"$work/ports"
}
