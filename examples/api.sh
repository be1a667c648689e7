#!/bin/sh
# Builds the launcher, and lets a client of an API log in, follow events, and come back with the cookies that it kept.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

serve examples/api_server.lua
for visit in first second; do
  echo "the $visit visit"
  "$caspian_net" "--allow-net=127.0.0.1:$port" "--allow-fs=$work" examples/api.lua "http://127.0.0.1:$port" "$work/cookies.lua"
done
