#!/bin/sh
# Builds the launcher, starts examples/upload_server.lua on loopback, uploads to it under a grant for its port alone, and stops it.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

serve examples/upload_server.lua
"$caspian_net" "--allow-net=127.0.0.1:$port" examples/upload.lua "http://127.0.0.1:$port"
