#!/bin/sh
# Builds the launcher, opens a room, lets a hundred visitors in at once, and visits it as a browser would, with curl.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

serve examples/room.lua 0
room="http://127.0.0.1:$port"
"$caspian_net" "--allow-net=127.0.0.1:$port" examples/room_crowd.lua "$room"

visit() { curl -sS --max-time 10 -b "$work/jar" -c "$work/jar" "$@"; }
visit "$room/" >"$work/page"
token=$(sed -n 's/.*name="csrf_token" value="\([^"]*\)".*/\1/p' "$work/page")
visit -L --data-urlencode 'who=Ada & <Charles>' -d "csrf_token=$token" "$room/enter" | tee "$work/page"
grep -q 'Ada &amp; &lt;Charles&gt;' "$work/page"
visit -o /dev/null -w 'a page of another site: %{http_code}\n' -H 'Origin: http://elsewhere.example' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
  -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' "$room/talk" | tee "$work/page"
grep -q ': 403' "$work/page"
