#!/bin/sh
# Builds the launcher, and lets a client of an API log in, follow events, and come back with the cookies that it kept.
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
"$caspian_net" --allow-listen=127.0.0.1:0 examples/api_server.lua >"$work/port" &
server=$!
read -r port <"$work/port"
for visit in first second; do
  echo "the $visit visit"
  "$caspian_net" "--allow-net=127.0.0.1:$port" "--allow-fs=$work" examples/api.lua "http://127.0.0.1:$port" "$work/cookies.lua"
done
