#!/bin/sh
# Builds the launcher, starts examples/server.lua on loopback, runs examples/tour.lua under exactly the grants that it
# needs, and stops the server.
# shellcheck source=examples/serving.sh
. "$(dirname "$0")/serving.sh"

serve --allow-net=127.0.0.1 examples/server.lua
tcp=$port udp=$other

set -- "--allow-net=localhost:$tcp" "--allow-net=127.0.0.1:$tcp+$udp" --allow-listen=127.0.0.1:0
echo "caspian-net $* examples/tour.lua $tcp $udp"
"$caspian_net" "$@" examples/tour.lua "$tcp" "$udp"
