#!/bin/sh
# Builds the launcher and downloads a file from a server that breaks off in the middle, and then the rest of it.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet
caspian_net=${CARGO_TARGET_DIR:-target}/debug/caspian-net

work=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
stop() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || :
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

mkfifo "$work/port"
"$caspian_net" --allow-listen=127.0.0.1:0 examples/download_server.lua >"$work/port" &
server=$!
read -r port <"$work/port"

download() {
  "$caspian_net" "--allow-net=127.0.0.1:$port" "--allow-fs=$work" examples/download.lua "http://127.0.0.1:$port/file" "$work/file"
}
status=0
download || status=$?
[ "$status" = 3 ]
download
[ "$(wc -c <"$work/file")" -eq 300000 ]
wait "$server"
server=
