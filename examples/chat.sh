#!/bin/sh
# Builds the launcher, starts a WebSocket server by another author (Debian's python3-websockets), and lets Ann and Bob
# talk through it with examples/chat.lua, each under the one grant that it takes.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

python=python3
"$python" -c 'import websockets' 2>/dev/null || python=/usr/bin/python3
"$python" spec/support/websocket.py "$work"
server=$(cat "$work/websocket.pid")
port=$(sed -n 's/.*{ ws = \([0-9]*\).*/\1/p' "$work/websocket.lua")
room="ws://127.0.0.1:$port/chat?name="

# chat NAME: what the standard input says, under that name.
chat() {
  "$caspian_net" "--allow-net=127.0.0.1:$port" examples/chat.lua "$room$1"
}

mkfifo "$work/ann"
chat Ann <"$work/ann" >"$work/ann.txt" &
ann=$!
exec 3>"$work/ann"
until grep -q "1 here" "$work/ann.txt"; do sleep 0.05; done
printf 'hello Ann\n/quit\n' | chat Bob
printf 'hello Bob, are you there?\n/quit\n' >&3
exec 3>&-
wait "$ann"
echo "-- what Ann saw:"
cat "$work/ann.txt"
grep -q "Bob: hello Ann" "$work/ann.txt"
grep -q "Ann: hello Bob" "$work/ann.txt"
