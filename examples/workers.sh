#!/bin/sh
# Builds the launcher, starts an app on a Unix socket and three workers, and shows who did what; a stranger without the token is refused.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

flags="--allow-listen=unix:$work/* --allow-net=unix:$work/*"
mkfifo "$work/token"
set -f
# shellcheck disable=SC2086 # two flags
"$caspian_net" $flags examples/workers.lua server "$work/jobs.sock" 3 >"$work/token" 2>"$work/results" &
server=$!
read -r token <"$work/token"

stranger=$("$caspian_net" "--allow-net=unix:$work/*" -e '
  local answer = net.fetch("http://localhost/job", { unix = ..., retry = 5 })
  io.write(answer.status, " ", answer.headers["www-authenticate"])' "$work/jobs.sock")
echo "a stranger: $stranger"
[ "$stranger" = '401 Bearer realm="<uds>"' ]

workers=
for _ in 1 2 3; do
  "$caspian_net" "--allow-net=unix:$work/*" examples/workers.lua worker "$work/jobs.sock" "$token" &
  workers="$workers $!"
done
for worker in $workers; do wait "$worker"; done
wait "$server"
server=
cat "$work/results"
[ "$(wc -l <"$work/results")" -eq 6 ]
