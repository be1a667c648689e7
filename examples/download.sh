#!/bin/sh
# Builds the launcher and downloads a file from a server that breaks off in the middle, and then the rest of it.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

serve examples/download_server.lua

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
