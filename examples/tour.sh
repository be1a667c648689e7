#!/bin/sh
# Builds the launcher, starts examples/server.lua on loopback, runs examples/tour.lua under exactly the grants that it
# needs, and stops the server.
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

mkfifo "$work/ports"
"$caspian_net" --allow-listen=127.0.0.1:0 --allow-net=127.0.0.1 examples/server.lua >"$work/ports" &
server=$!
read -r tcp udp <"$work/ports"

set -- "--allow-net=localhost:$tcp" "--allow-net=127.0.0.1:$tcp+$udp" --allow-listen=127.0.0.1:0
echo "caspian-net $* examples/tour.lua $tcp $udp"
"$caspian_net" "$@" examples/tour.lua "$tcp" "$udp"
