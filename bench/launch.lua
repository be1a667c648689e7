--- What it takes to begin: `require` and `launch` in a fresh process, in seconds of CPU and of the clock.
-- With a port, a plain connection is opened as well; with `ssl` behind it, a TLS one (for the trace of opened files).
local gettime = require("socket").gettime
local cpu, wall = os.clock(), gettime()
local net = require("caspian.net").launch{ "--allow-net=127.0.0.1" }
cpu, wall = os.clock() - cpu, gettime() - wall
print(("%.6f %.6f"):format(cpu, wall))
if arg[1] then net.tcp("127.0.0.1", tonumber(arg[1])):close() end
if arg[2] == "ssl" then print((pcall(net.ssl, "127.0.0.1", tonumber(arg[1]), { timeout = 1 }))) end
