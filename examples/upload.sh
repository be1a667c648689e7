#!/bin/sh
# Builds the launcher, starts examples/upload_server.lua on loopback, uploads to it under a grant for its port alone, and stops it.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet
caspian_net=${CARGO_TARGET_DIR:-target}/debug/caspian-net

work=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
stop() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || :
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

mkfifo "$work/port"
"$caspian_net" --allow-listen=127.0.0.1:0 examples/upload_server.lua >"$work/port" &
server=$!
read -r port <"$work/port"

"$caspian_net" "--allow-net=127.0.0.1:$port" examples/upload.lua "http://127.0.0.1:$port"
