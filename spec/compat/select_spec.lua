-- The drop-in's `select`.

local net = require("spec.support.subject").net
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: select", function()
  wire.watch(before_each, after_each)

  rows.declare(it, net, {
    { "nothing is ready", [[ local a = pair() local r, w, why = socket.select({ a }, nil, 0.02) return #r, #w, why ]], [[0 0 "timeout"]] },
    { "readable", [[ local a, b = pair() b:send("x") local r, w, why = socket.select({ b, a }, {}, 5) return #r, r[1] == a, r[a], r[b], #w, why ]],
      "1 true 1.0 nil 0 nil" },
    { "writable", [[ local a, b = pair() local r, w = socket.select(nil, { a, b }, 5) return #r, #w, w[a], w[b], w[1] == a or w[1] == b ]],
      "0 2 1.0 2.0 true" },
    { "both", [[ local a, b = pair() b:send("x") local r, w = socket.select({ a }, { a }, 5) return r[1] == a, w[1] == a ]],
      "true true", "what is written may be seen before what is read" },
    { "buffered bytes come first, at once", [[ local a, b = pair() b:send("one\ntwo\n") a:receive() local start = socket.gettime()
      local r, _, why = socket.select({ b, a }, nil, 5) return #r, r[1] == a, why, a:dirty(), socket.gettime() - start < 1 ]],
      "1 true nil true true" },
    { "half a line is no reason to wake again", [[ local a, b = pair() b:send("half") a:settimeout(0)
      local woken = socket.select({ a }, nil, 5)[1] == a
      local line, why, part = a:receive()
      return woken, line, why, part, (select(3, socket.select({ a }, nil, 0.02))) ]], [[true nil "timeout" "half" "timeout"]] },
    { "a client for accept", [[ local s, port = server() keep(socket.connect("127.0.0.1", port)) return socket.select({ s }, nil, 5)[1] == s ]], "true" },
    { "the end of a stream", [[ local a, b = pair() b:close() return socket.select({ a }, nil, 5)[1] == a ]], "true" },
    { "one socket twice", [[ local a, b = pair() b:send("x") local r = socket.select({ a, a }, nil, 5) return #r ]], "1" },
    { "datagrams", [[ local u, c = keep(socket.udp()), keep(socket.udp()) u:setsockname("127.0.0.1", 0) c:setpeername(u:getsockname())
      c:send("x") return socket.select({ u, c }, nil, 5)[1] == u ]], "true" },
    { "closed ones are passed over", [[ local a, b = pair() b:close() local r, w, why = socket.select({ b }, { b }, 0.01) return #r, #w, why ]],
      [[0 0 "timeout"]] },
    { "foreign objects", [[ local a, b = pair() b:send("x") local mine = { getfd = function() return a:getfd() end }
      local r = socket.select({ mine }, nil, 5) return r[1] == mine, r[mine] ]], "true 1.0" },
    { "foreign objects that are dirty", [[ local mine = { getfd = function() return 0 end, dirty = function() return true end }
      return socket.select({ mine }, nil, 5)[1] == mine ]], "true" },
    { "objects without a descriptor", [[ local none = { getfd = function() return -1 end } local r, _, why = socket.select({ {}, none }, nil, 0)
      return #r, why ]], [[0 "timeout"]] },
    { "sources and sinks", [[ local a, b = pair() b:send("x") local source = socket.source("until-closed", a)
      return socket.select({ source }, nil, 5)[1] == source ]], "true" },
    { "nothing to wait for is a sleep", [[ local start = socket.gettime() local _, _, why = socket.select(nil, nil, 0.1)
      return why, socket.gettime() - start >= 0.09 ]], [["timeout" true]] },
    { "a write set asks no one whether he is dirty", [[ local a, b = pair() b:send("one\ntwo\n") a:receive()
      local r, w = socket.select(nil, { a }, 5) return #r, w[1] == a ]], "0 true" },
    { "what is no table", [[ return (raised(function() socket.select(1) end):gsub("socket%.", "")),
      (raised(function() socket.select(nil, "x") end):gsub("socket%.", "")) ]],
      [["bad argument #1 to 'select' (table expected, got number)" "bad argument #2 to 'select' (table expected, got string)"]] },
    { "what is no time", [[ return (raised(function() socket.select({}, {}, "x") end):gsub("socket%.", "")) ]],
      [["bad argument #3 to 'select' (number expected, got string)"]] },
    { "what is no socket", [[ return (pcall(socket.select, { 1 }, nil, 0)) ]], "false" },
    { "a descriptor beyond all", [[ return (raised(function() socket.select({ { getfd = function() return 2^21 end } }, nil, 0) end):gsub("socket%.", "")) ]],
      [["bad argument #1 to 'select' (descriptor too large for set size)"]] },
    { "numbers that are none, or odd", [[ local a, b = pair() b:send("x") local function of(fd) return { getfd = function() return fd end } end
      local none = { of(-7), of(-0.5), of(0/0), of("x"), of(true), of({}), of(nil) } local odd = { of(a:getfd() + 0.5), of(tostring(b:getfd())) }
      local r, w, why = socket.select(none, none, 0) local readable, writable = socket.select(odd, odd, 5)
      return #r, #w, why, #readable, readable[1] == odd[1], #writable ]], [[0 0 "timeout" 1 true 2]] },
    { "an object that closes its neighbour", [[ local a, b = pair() b:send("x") local mean = { getfd = function() a:close() return -1 end }
      return raised(function() socket.select({ a, mean }, nil, 0) end), #socket.select({ mean, a }, nil, 0) ]], [["select failed" 0]] },
    { "an object that raises", [[ local a = pair() local mean = { getfd = function() error("mean", 0) end }
      return raised(function() socket.select({ a, mean }, { mean }, 0) end), #(select(2, socket.select({ a }, { a }, 0))) ]], [["mean" 1]] },
    { "more numbers than there are descriptors", [[ local all = {} for n = 1, 5000 do all[n] = { getfd = function() return 60000 + n end } end
      return raised(function() socket.select(all, all, 0) end) ]], [["select failed"]], "1024" },
    { "a descriptor that is not open", [[ return raised(function() socket.select({ { getfd = function() return 50 end } }, nil, 0) end) ]],
      [["select failed"]] },
    { "the size of a set", [[ return socket._SETSIZE >= 2^20 ]], "true", "N7: 1024" },
  })
end)
