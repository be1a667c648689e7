-- What `want()` of the drop-in's TLS connections answers after calls that failed.

local net = require("spec.support.subject").net
local prelude = require("spec.support.tls_rows")
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: ssl, want", function()
  wire.watch(before_each, after_each)

  local both = prelude .. [[
    --- A client in TLS, and the plain socket that is the other end of its stream.
    function cuttable()
      local a, b = pair()
      local e, f = pair()
      local c, s = keep(assert(ssl.wrap(a, context()))), keep(assert(ssl.wrap(f, serving())))
      for _, each in ipairs{ b, c, e, s } do each:settimeout(0) end
      local done, met
      for _ = 1, 200 do
        done, met = done or c:dohandshake(), met or s:dohandshake()
        for from, to in pairs{ [b] = e, [e] = b } do
          local all, _, part = from:receive(65536)
          if #(all or part) > 0 then to:send(all or part) end
        end
        if done and met then break end
        socket.select({ b, e }, nil, 0.02)
      end
      assert(done and met)
      c:settimeout(5)
      return c, b
    end
    --- Ends the stream with a reset.
    function reset(b)
      b:setoption("linger", { on = true, timeout = 0 })
      b:close()
    end
  ]]
  rows.declare(it, net, {
    { "timed out, then read", [[ local c, s = tls() c:settimeout(0) c:receive() local first = c:want() s:send("x\n") c:settimeout(5)
      c:receive() return first, c:want() ]], [["read" "nothing"]] },
    { "timed out, then sent", [[ local c = tls() c:settimeout(0) c:receive() local first = c:want() c:send("x") return first, c:want() ]],
      [["read" "nothing"]] },
    { "a part, then timed out", [[ local c, s = tls() s:send("ab") c:settimeout(0.1) local _, why, part = c:receive(5)
      return why, part, c:want() ]], [["wantread" "ab" "read"]] },
    { "at the end", [[ local c, s = tls() s:send("ab") s:close() local _, why, part = c:receive() return why, part, c:want() ]],
      [["closed" "ab" "nothing"]] },
    { "at the end, after a read that had timed out", [[ local c, s = tls() c:settimeout(0) c:receive() s:close() c:settimeout(5)
      local _, why = c:receive() return why, c:want() ]], [["closed" "nothing"]] },
    { "cut", [[ local c, b = cuttable() b:close() local _, why = c:receive() return why, c:want() ]],
      [["unexpected eof while reading" "nothing"]] },
    { "reset while it reads", [[ local c, b = cuttable() reset(b) local _, why = c:receive() return why, c:want() ]], [["closed" "read"]] },
    { "reset while it sends", [[ local c, b = cuttable() reset(b) socket.select({ c }, nil, 5) local _, why = c:send("x")
      return why, c:want() ]], [["closed" "write"]] },
    { "garbage in the stream", [[ local c, b = cuttable() b:send(("x"):rep(100)) local _, why = c:receive() return why, c:want() ]],
      [["wrong version number" "nothing"]] },
    { "read before there is TLS", [[ local c = ends() local _, why = c:receive() return why, c:want() ]], [["closed" "nothing"]] },
    { "read in mid-handshake", [[ local c = ends() c:dohandshake() local _, why = c:receive() return why, c:want() ]], [["closed" "read"]] },
    { "closed by itself", [[ local c = tls() c:settimeout(0) c:receive() c:close() local _, why = c:receive() return why, c:want() ]],
      [["closed" "nothing"]] },
    { "a handshake with what speaks no TLS", [[ local a, b = pair() local c = keep(assert(modules("ssl").wrap(a, context())))
      b:send("HTTP/1.0 400 Bad Request\r\n\r\n") local _, why = c:dohandshake() return why, c:want() ]], [["wrong version number" "read"]] },
    { "a handshake that ends", [[ local a, b = pair() local c = keep(assert(modules("ssl").wrap(a, context()))) c:settimeout(0) c:dohandshake()
      b:receive(1) b:shutdown("send") c:settimeout(5) local _, why = c:dohandshake() return why, c:want() ]],
      [["unexpected eof while reading" "read"]] },
    { "reset in mid-handshake", [[ local a, b = pair() local c = keep(assert(modules("ssl").wrap(a, context()))) c:settimeout(0)
      local _, first = c:dohandshake() local before = c:want() reset(b) socket.select({ c }, nil, 5) local _, why = c:dohandshake()
      return first, before, why, c:want() ]], [["wantread" "read" "closed" "read"]] },
    { "an alert in mid-handshake", [[ local a, b = pair() local c = keep(assert(modules("ssl").wrap(a, context())))
      b:send("\21\3\3\0\2\2\40") local _, why = c:dohandshake() return why, c:want() ]],
      [["sslv3 alert handshake failure" "read"]] },
    { "a handshake that has failed, again", [[ local a, b = pair() local c = keep(assert(modules("ssl").wrap(a, context())))
      b:send(("\0"):rep(20)) local _, why = c:dohandshake() local done, again = c:dohandshake() return why, done, again ]],
      [["wrong version number" false "wrong version number"]], "LuaSec says that it is done" },
    { "a certificate that is refused", [[ local c, s = ends({ cafile = pem("rsa") }) local _, why, _, other = shake(c, s)
      return why, c:want(), other, s:want() ]], [["certificate verify failed" "nothing" "tlsv1 alert unknown ca" "read"]] },
  }, { prelude = both })
end)
