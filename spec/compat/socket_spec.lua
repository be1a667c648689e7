-- The drop-in's `socket`: TCP objects and what is around them.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local rows = require("spec.support.rows")
local wire = require("spec.support.wire")

describe("drop-in: socket", function()
  wire.watch(before_each, after_each)

  it("knows an interruption by what the native half answers, and not by its words", function()
    local answers
    local function answer() return answers[1], answers[2], answers[3] end
    local module = require("caspian.net.compat.socket")({ sleep = answer, poll = answer, addresses = answer, hostname = answer })
    for _, words in ipairs{ "interrupted!", "look up: interrupted", { message = "look up: interrupted" } } do
      answers = { nil, words }
      local text = type(words) == "table" and words.message or words
      module.sleep(0)
      assert.same({ n = 2, nil, text }, { n = select("#", module.dns.getaddrinfo("a.test")), module.dns.getaddrinfo("a.test") })
      assert.equal(text, select(2, module.dns.toip("a.test")))
      assert.equal(text, select(2, module.dns.tohostname("a.test")))
      answers[3] = true
      for _, call in ipairs{ module.dns.getaddrinfo, module.dns.toip, module.dns.tohostname, module.dns.getnameinfo } do
        assert.equal("interrupted!", select(2, pcall(call, "a.test")))
      end
      assert.equal("interrupted!", select(2, pcall(module.sleep, 0)))
      assert.equal("interrupted!", select(2, pcall(module.select, {}, {}, 0)))
    end
  end)

  describe("receive", function()
    rows.declare(it, net, {
      { "a line, without its end", [[ local a, b = pair() b:send("one\r\ntwo\n") return a:receive(), a:receive("*l") ]],
        [["one" "two" nil nil]] },
      { "three results, always", [[ local a, b = pair() b:send("x\n") return select("#", a:receive()), a:send("x") ]],
        [[3 1.0 nil nil]] },
      { "drops every CR of a line", [[ local a, b = pair() b:send("a\rb\r\r\n\r\n") return a:receive(), (a:receive()) ]],
        [["ab" ""]] },
      { "drops the CRs of what there was", [[ local a, b = pair() b:send("a\rb\r") b:close() return a:receive() ]],
        [[nil "closed" "ab"]] },
      { "what there was at the end of the stream", [[ local a, b = pair() b:send("rest") b:close() return a:receive() ]],
        [[nil "closed" "rest"]] },
      { "a number of bytes", [[ local a, b = pair() b:send("abcdef") return a:receive(4), (a:receive("2")) ]], [["abcd" "ef"]] },
      { "a prefix counts", [[ local a, b = pair() b:send("abcdef") return a:receive(10, "123456") ]], [["123456abcd" nil nil]] },
      { "a prefix that is enough", [[ local a = pair() return a:receive(3, "123456") ]], [["123456" nil nil]] },
      { "a prefix of a line", [[ local a, b = pair() b:send("c\n") return a:receive("*l", "a\rb") ]], [["a\rbc" nil nil]] },
      { "a number as a prefix", [[ local a, b = pair() b:send("c\n") return a:receive("*l", 12) ]], [["12c" nil nil]] },
      { "everything", [[ local a, b = pair() b:send("a\r\nb") b:close() return a:receive("*a") ]], [["a\r\nb" nil nil]] },
      { "everything, twice", [[ local a, b = pair() b:send("x") b:close() a:receive("*a") return a:receive("*a", "p") ]],
        [[nil "closed" "p"]] },
      { "a timeout hands on what there is", [[ local a, b = pair() b:send("xxx") a:settimeout(0.05) return a:receive(10, "y") ]],
        [[nil "timeout" "yxxx"]] },
      { "and it is spent", [[ local a, b = pair() b:send("xxx") a:settimeout(0.05) a:receive(10) b:send("z\n") return a:receive() ]],
        [["z" nil nil]] },
      { "everything, until the timeout", [[ local a, b = pair() b:send("xxx") a:settimeout(0.05) return a:receive("*a") ]],
        [[nil "timeout" "xxx"]] },
      { "without a wait", [[ local a = pair() a:settimeout(0) return a:receive("*l") ]], [[nil "timeout" ""]] },
      { "without a wait, what is there", [[ local a, b = pair() b:send("abc\n") socket.select({ a }, nil, 5) a:settimeout(0)
        return a:receive(), select(2, a:receive()) ]], [["abc" "timeout" ""]] },
      { "zero bytes wait for something", [[ local a, b = pair() a:settimeout(0.02) local _, why = a:receive(0) b:send("x")
        a:settimeout(5) local got = a:receive(0) return why, got, (a:receive(1)) ]], [["timeout" "" "x"]] },
      { "zero bytes at the end", [[ local a, b = pair() b:close() return a:receive(0) ]], [[nil "closed" ""]] },
      { "patterns by two characters", [[ local a, b = pair() b:send("x\n") return (a:receive("*line")) ]], [["x"]] },
      { "unknown patterns", [[ local a = pair() return raised(function() a:receive("l") end), raised(function() a:receive(-1) end) ]],
        [["bad argument #1 to 'receive' (invalid receive pattern)" "bad argument #1 to 'receive' (invalid receive pattern)"]] },
      { "patterns of a wrong type", [[ local a = pair() return raised(function() a:receive({}) end) ]],
        [["bad argument #1 to 'receive' (string expected, got table)"]] },
      { "more than the buffer", [[ local a, b = pair() local big = ("0123456789abcdef"):rep(40000) b:settimeout(0)
        local sent, got = 0, {} while sent < #big do local last, _, upto = b:send(big, sent + 1) sent = last or upto
        local part, _, rest = a:receive(math.min(#big - #table.concat(got), 100000)) got[#got + 1] = part or rest end
        local rest = a:receive(#big - #table.concat(got)) got[#got + 1] = rest return table.concat(got) == big ]], "true",
        "a second faster" },
      { "no more than maxsize", [[ local a, b = pair() b:send("abcdef\n") return a:receive("*l", "", 4) ]],
        [[nil "oversized" "abcd"]], "newer than the original" },
      { "maxsize that suffices", [[ local a, b = pair() b:send("abcd\r\n") return a:receive("*l", "", 4) ]], [["abcd" nil nil]],
        "newer than the original" },
      { "maxsize counts the prefix", [[ local a, b = pair() b:send("cd\n") return a:receive("*l", "ab", 3) ]],
        [[nil "oversized" "abc"]], "newer than the original" },
      { "maxsize of everything", [[ local a, b = pair() b:send(("x"):rep(100)) b:close() return a:receive("*a", nil, 10) ]],
        [[nil "oversized" "xxxxxxxxxx"]], "newer than the original" },
      { "maxsize that everything fits", [[ local a, b = pair() b:send("0123456789") b:close() return a:receive("*a", nil, 10) ]],
        [["0123456789" nil nil]], "newer than the original" },
      { "maxsize of a number", [[ local a, b = pair() b:send("0123456789") return a:receive(8, nil, 4) ]],
        [[nil "oversized" "0123"]], "newer than the original" },
      { "a reset is closed", [[ local a, b = pair() a:send("unread") b:setoption("linger", { on = true, timeout = 0 }) b:close()
        return a:receive() ]], [[nil "closed" ""]] },
    })
  end)

  describe("send", function()
    rows.declare(it, net, {
      { "the index of the last byte", [[ local a = pair() return a:send("hello") ]], "5.0 nil nil" },
      { "a part", [[ local a, b = pair() return a:send("abcdef", 2, 4), (b:receive(3)) ]], [[4.0 "bcd"]] },
      { "a part from the end", [[ local a, b = pair() return a:send("abcdef", -3, -2), (b:receive(2)) ]], [[5.0 "de"]] },
      { "an empty part", [[ local a = pair() return (a:send("abc", 5, 2)), (a:send("abc", 10)), (a:send("")), (a:send("abc", 0, 0)) ]],
        "4.0 9.0 0.0 0.0" },
      { "numbers", [[ local a, b = pair() a:send(12) a:send("\n") return (b:receive()) ]], [["12"]] },
      { "a number of an index as a string", [[ local a = pair() return a:send("abcdef", "2", "3") ]], "3.0 nil nil" },
      { "what is no string", [[ local a = pair() return raised(function() a:send({}) end) ]],
        [["bad argument #1 to 'send' (string expected, got table)"]] },
      { "to nobody", [[ local a, b = pair() b:close() a:send("x") socket.sleep(0.05) return a:send("y") ]], [[nil "closed" 0.0]] },
      { "as much as fits", [[ local a = pair() a:settimeout(0) local last, why, upto = a:send(("x"):rep(2^24))
        return last, why, upto > 0 and upto < 2^24 ]], [[nil "timeout" true]] },
    })
  end)

  describe("timeouts", function()
    local took = [[
      --- Why f failed, and whether after that many seconds.
      function took(seconds, f, ...)
        local start = socket.gettime()
        local _, why = f(...)
        local time = socket.gettime() - start
        return why, time > seconds - 0.02 and time < seconds + 1
      end
    ]]
    rows.declare(it, net, {
      { "what they are", [[ local t = keep(socket.tcp()) local a = { t:gettimeout() } t:settimeout(2) t:settimeout(3, "total")
        return a[1], a[2], t:gettimeout() ]], "-1.0 -1.0 2.0 3.0" },
      { "none", [[ local t = keep(socket.tcp()) t:settimeout(2) return t:settimeout(nil), t:gettimeout() ]], "1.0 -1.0 -1.0" },
      { "the modes", [[ local t = keep(socket.tcp()) t:settimeout(1, "r") t:settimeout(4, "block") return t:gettimeout() ]], "4.0 1.0" },
      { "an unknown mode", [[ local t = keep(socket.tcp()) return raised(function() t:settimeout(1, "x") end) ]],
        [["bad argument #2 to 'settimeout' (invalid timeout mode)"]] },
      { "one limit bounds a call", [[ local a = pair() a:settimeout(0.3) return took(0.3, a.receive, a) ]], [["timeout" true]] },
      { "the total does, too", [[ local a = pair() a:settimeout(nil) a:settimeout(0.2, "t") return took(0.2, a.receive, a) ]],
        [["timeout" true]] },
      { "of two, the smaller", [[ local a = pair() a:settimeout(0.2) a:settimeout(5, "t") return took(0.2, a.receive, a) ]],
        [["timeout" true]] },
      { "less than a millisecond is none", [[ local a = pair() a:settimeout(0.0005) return took(0, a.receive, a) ]], [["timeout" true]] },
      { "of accept", [[ local s = server() s:settimeout(0.2) return took(0.2, s.accept, s) ]], [["timeout" true]] },
      { "a total that has passed still takes what is there", [[ local a, b = pair() b:send("x") socket.select({ a }, nil, 5)
        a:settimeout(0, "t") return (a:receive(1)) ]], [["x"]] },
    }, { prelude = took })

    local drip = [[ local c = accept() for _ = 1, 20 do c:send("x") socket.sleep(0.1) end ]]
    local function dripped(block, total)
      local socket = rows.install(net)("socket")
      local p = peer.tcp(drip)
      local c = assert(socket.connect("127.0.0.1", p.port))
      c:settimeout(block)
      if total then c:settimeout(total, "t") end
      local start = socket.gettime()
      local data, why, partial = c:receive("*l")
      local time = socket.gettime() - start
      c:close()
      assert.is_nil(data)
      assert.equal("timeout", why)
      return time, #partial
    end

    it("bound a whole call, however the bytes drip in", function()
      local time, count = dripped(0.35)
      assert.truthy(time > 0.33 and time < 1, time)
      assert.truthy(count >= 2 and count <= 5, count)
    end)

    it("end a line that does not, where nothing else limits it", function()
      local socket = rows.install(net)("socket")
      local p = peer.tcp[[ local c = accept() local piece = ("x"):rep(2^20) for _ = 1, 70 do if not c:send(piece) then break end end ]]
      local c = assert(socket.connect("127.0.0.1", p.port))
      c:settimeout(60)
      local data, why, partial = c:receive("*l")
      assert.is_nil(data)
      assert.equal("oversized", why)
      assert.equal(64 * 1024 * 1024, #partial)
      c:close()
    end)

    it("are, with a total, of each wait and of all", function()
      local time = dripped(0.3, 0.7)
      assert.truthy(time > 0.65 and time < 1.4, time)
    end)
  end)

  describe("connect", function()
    rows.declare(it, net, {
      { "a client", [[ local s, port = server() local c = keep(socket.tcp()) return c, c:connect("127.0.0.1", port), c ]],
        "tcp{client} 1.0 tcp{client}", "the original evaluates the same; the object is one" },
      { "by a name", [[ local s, port = server() local c = keep(socket.tcp()) return c:connect("localhost", port) ]], "1.0" },
      { "a port as a string", [[ local s, port = server() local c = keep(socket.tcp()) return c:connect("127.0.0.1", tostring(port)) ]], "1.0" },
      { "refused", [[ local c = keep(socket.tcp()) return c:connect("127.0.0.1", closed()) ]], [[nil "connection refused"]] },
      { "refused, and a client", [[ local c = keep(socket.tcp()) c:connect("127.0.0.1", closed()) return c ]], "tcp{client}" },
      { "no such name", [[ return socket.connect("nosuch.invalid", 80) ]], [[nil "host or service not provided, or not known"]] },
      { "no such service", [[ return socket.connect("127.0.0.1", "nosuchservice") ]], [[nil "service not supported for socket type"]] },
      { "again", [[ local s, port = server() local c = keep(socket.connect("127.0.0.1", port)) c:connect("127.0.0.1", port)
        return c:connect("127.0.0.1", port) ]], [[nil "already connected"]] },
      { "without a wait", [[ local s, port = server() local c = keep(socket.tcp()) c:settimeout(0)
        local first, why = c:connect("127.0.0.1", port) local _, ready = socket.select(nil, { c }, 5)
        local second = { c:connect("127.0.0.1", port) } local third = { c:connect("127.0.0.1", port) }
        return first, why, ready[1] == c, second[1], third[2] ]], [[nil "timeout" true 1.0 "already connected"]] },
      { "without a wait, used before it stands", [[ local s, port = server() local c = keep(socket.tcp()) c:settimeout(0)
        c:connect("127.0.0.1", port) socket.select(nil, { c }, 5) local a = keep(s:accept()) a:send("hi\n") c:settimeout(5)
        return (c:receive()) ]], [["hi"]] },
      { "without a wait, refused", [[ local c = keep(socket.tcp()) c:settimeout(0) local port = closed() c:connect("127.0.0.1", port)
        socket.select(nil, { c }, 5) return c:connect("127.0.0.1", port) ]], [[nil "connection refused"]] },
      { "from a place of its own", [[ local s, port = server() local c = keep(assert(socket.connect("127.0.0.1", port, "127.0.0.1", 0)))
        local ip = c:getsockname() return ip ]], [["127.0.0.1"]] },
      { "of a family that is none", [[ return raised(function() socket.connect("127.0.0.1", 1, nil, nil, "bogus") end) ]],
        [["bad argument #5 to 'connect' (invalid option 'bogus')"]] },
      { "without a port", [[ local c = keep(socket.tcp()) return raised(function() c:connect("127.0.0.1") end) ]],
        [["bad argument #2 to 'connect' (string expected, got no value)"]] },
      { "over IPv6", [[ local s = keep(assert(socket.tcp6())) s:bind("::1", 0) s:listen() local ip, port, family = s:getsockname()
        local c = keep(assert(socket.connect("::1", port))) local peer, _, kind = c:getpeername() return ip, family, peer, kind,
        c:getfamily() ]], [["::1" "inet6" "::1" "inet6" "inet6"]] },
    })
  end)

  describe("servers", function()
    rows.declare(it, net, {
      { "the steps", [[ local t = keep(socket.tcp()) return tostring(t):sub(1, 11), t:bind("127.0.0.1", 0), t:listen(), t ]],
        [["tcp{master}" 1.0 1.0 tcp{server}]] },
      { "any interface", [[ local s = server("*") return (s:getsockname()) ]], [["0.0.0.0"]] },
      { "a name", [[ local s = server("localhost") return (s:getsockname()) ]], [["127.0.0.1"]] },
      { "a port that is taken", [[ local s, port = server() return socket.bind("127.0.0.1", port) ]], [[nil "address already in use"]] },
      { "an address that is not ours", [[ return socket.bind("203.0.113.1", 0) ]], [[nil "Cannot assign requested address"]] },
      { "names of both ends", [[ local a, b = pair() local ip, port, family = a:getpeername() local bip, bport = b:getsockname()
        return ip == bip, tostring(port) == tostring(bport), family ]], [[true true "inet"]] },
      { "ports are whole numbers", [[ local s = server() local _, port = s:getsockname() return type(port), (tostring(port):find("%.")) ]],
        [["number" nil]], "a string in the original's 3.0" },
      { "an accepted client has no timeouts", [[ local s, port = server() s:settimeout(3) keep(socket.connect("127.0.0.1", port))
        return keep(s:accept()):gettimeout() ]], "-1.0 -1.0" },
      { "listen without an address", [[ local t = keep(socket.tcp()) return t:listen() ]], [[nil "Bad file descriptor"]] },
      { "bind from a wrong state", [[ local s = server() return raised(function() s:bind("127.0.0.1", 0) end) ]],
        [["calling 'bind' on bad self (tcp{master} expected)"]] },
    })
  end)

  describe("objects", function()
    rows.declare(it, net, {
      { "have no descriptor at first", [[ local t = keep(socket.tcp()) return t:getfd(), t:getsockname() ]], [[-1.0 nil "Bad file descriptor"]] },
      { "or have one", [[ local t = keep(socket.tcp4()) return t:getfd() >= 0, t:getsockname() ]], [[true "0.0.0.0" 0 "inet"]],
        "the port is a string in the original's 3.0" },
      { "are not connected", [[ local t = keep(socket.tcp4()) return t:getpeername() ]], [[nil "Transport endpoint is not connected"]] },
      { "have a family", [[ return keep(socket.tcp()):getfamily(), keep(socket.tcp4()):getfamily(), keep(socket.tcp6()):getfamily() ]],
        [["inet4" "inet4" "inet6"]] },
      { "have tables of methods, one for each class", [[ local s, c = server(), (pair())
        local mine, theirs = getmetatable(s).__index, getmetatable(c).__index
        return type(mine), mine == theirs, mine.class, theirs.class, c.class ]],
        [["table" false "tcp{server}" "tcp{client}" "tcp{client}"]] },
      { "can be patched", [[ local a = pair() local methods = getmetatable(a).__index local old = methods.getfd
        methods.getfd = function() return "patched" end local now = a:getfd() methods.getfd = old return now, a:getfd() >= 0 ]],
        [["patched" true]] },
      { "know wrong ones", [[ local s = server() return raised(function() s:receive() end), raised(s.receive, 1),
        raised(function() keep(socket.tcp()):accept() end) ]],
        [["calling 'receive' on bad self (tcp{client} expected)" "bad argument #1 to '?' (tcp{client} expected)" ]] ..
        [["calling 'accept' on bad self (tcp{server} expected)"]], "5.4 knows the name of what pcall calls" },
      { "are no tables", [[ local a = pair() local fake = setmetatable({}, getmetatable(a))
        return raised(function() fake:send("x") end), raised(function() fake:close() end) ]],
        [["calling 'send' on bad self (tcp{client} expected)" "calling 'close' on bad self (tcp{any} expected)"]], "a table has no descriptor" },
      { "closed", [[ local a = pair() return a:close(), a:close(), a:getfd(), a:send("x") ]], [[1.0 1.0 -1.0 nil "closed" 0.0]] },
      { "closed: what was buffered can be had", [[ local a, b = pair() b:send("one\ntwo\nrest") a:receive() a:close()
        return a:dirty(), a:receive(), a:receive() ]], [[true "two" nil "closed" "rest"]] },
      { "closed: other calls", [[ local a = pair() a:close() return a:settimeout(1), a:shutdown(), a:dirty(), a:getsockname() ]],
        [[1.0 1.0 false nil "Bad file descriptor"]] },
      { "closed: options", [[ local a = pair() a:close() return a:setoption("keepalive", true) ]], [[nil "setsockopt failed"]] },
      { "closed: zero bytes of what was buffered", [[ local a, b = pair() b:send("x\ny") a:receive() a:close() return a:receive(0), a:receive(1),
        (select(2, a:receive(0))) ]], [["" "y" "closed"]] },
      { "closed: a server", [[ local s = server() s:close() return s:accept() ]], [[nil "closed"]] },
      { "statistics", [[ local a, b = pair() a:send("12345") b:send("ab\r\ncd") a:receive() local r, s, age = a:getstats()
        return r, s, age >= 0 and age < 5 ]], "4.0 5.0 true" },
      { "statistics that are set", [[ local a = pair() local done = a:setstats(10, 20, 100) local r, s, age = a:getstats()
        return done, r, s, math.floor(age) ]], "1.0 10.0 20.0 100" },
      { "shutdown", [[ local a, b = pair() return a:shutdown("send"), b:receive() ]], [[1.0 nil "closed" ""]] },
      { "shutdown of what is none", [[ local a = pair() return raised(function() a:shutdown("x") end) ]],
        [["bad argument #1 to 'shutdown' (invalid option 'x')"]] },
      { "end with their last mention", [[ do local s, port = server() for i = 1, 25 do socket.connect("127.0.0.1", port):getfd() end end
        collectgarbage() collectgarbage() return keep(socket.tcp4()):getfd() < 30 ]], "true" },
    })
  end)

  describe("options", function()
    rows.declare(it, net, {
      { "on and off", [[ local a = pair() local before = a:getoption("keepalive") return before, a:setoption("keepalive", true),
        a:getoption("keepalive"), a:setoption("tcp-nodelay", true), a:getoption("tcp-nodelay"), a:getoption("reuseaddr") ]],
        "false 1.0 true 1.0 true false" },
      { "numbers", [[ local a = pair() return a:setoption("tcp-keepidle", 77), a:getoption("tcp-keepidle"), a:setoption("tcp-keepcnt", 5),
        a:getoption("tcp-keepcnt"), a:setoption("tcp-keepintvl", 9), a:getoption("tcp-keepintvl") ]], "1.0 77.0 1.0 5.0 1.0 9.0" },
      { "linger", [[ local a = pair() return a:setoption("linger", { on = true, timeout = 7 }), a:getoption("linger") ]],
        "1.0 {on=true,timeout=7}" },
      { "linger off", [[ local a = pair() a:setoption("linger", { on = false, timeout = 0 }) return a:getoption("linger") ]],
        "{on=false,timeout=0}" },
      { "the collector hurries as much", [[ local all = {} collectgarbage() collectgarbage()
        local before = collectgarbage("count") for n = 1, 100 do all[n] = keep(socket.tcp()) end
        return (collectgarbage("count") - before) / 100 > 8 ]], "true" },
      { "close waits for no one", [[ local a, b = pair() a:settimeout(0) assert(a:setoption("linger", { on = true, timeout = 2 }))
        local block, total = ("x"):rep(100000), 0 repeat local all, why, part = a:send(block) total = total + (all or part) until why
        local start = socket.gettime() a:close() local took = socket.gettime() - start
        return took < 1, total > 100000, #b:receive("*a") == total ]], "true true true", "close(2) waits, for as long as the option says" },
      { "a long linger", [[ local a = pair() return a:setoption("linger", { on = true, timeout = 1e300 }), a:getoption("linger").timeout ]],
        "1.0 65535", "modulo 65536" },
      { "linger, then none", [[ local a = pair() a:setoption("linger", { on = true, timeout = 0 }) a:setoption("linger", { on = true, timeout = 9 })
        local first = a:getoption("linger").timeout a:setoption("linger", { on = false, timeout = 9 }) return first, a:getoption("linger").on ]], "9 false" },
      { "linger without its fields", [[ local a = pair() return raised(function() a:setoption("linger", {}) end),
        raised(function() a:setoption("linger", { on = true }) end), raised(function() a:setoption("linger", 1) end) ]],
        [["bad argument #2 to 'setoption' (boolean 'on' field expected)" ]] ..
        [["bad argument #2 to 'setoption' (number 'timeout' field expected)" ]] ..
        [["bad argument #2 to 'setoption' (table expected, got number)"]] },
      { "buffers", [[ local a = pair() a:setoption("recv-buffer-size", 20000) a:setoption("send-buffer-size", 30000)
        return a:getoption("recv-buffer-size"), a:getoption("send-buffer-size") ]], "40000.0 60000.0" },
      { "others", [[ local t = keep(socket.tcp4()) return t:setoption("reuseport", true), t:getoption("reuseport"),
        t:setoption("tcp-defer-accept", 3), t:setoption("tcp-fastopen", 5), t:setoption("tcp-fastopen-connect", 1) ]],
        "1.0 true 1.0 1.0 1.0" },
      { "only IPv6", [[ local t = keep(socket.tcp6()) return t:setoption("ipv6-v6only", true), keep(socket.tcp4()):setoption("ipv6-v6only", true) ]],
        [[1.0 nil "setsockopt failed"]] },
      { "no error", [[ local a = pair() return a:getoption("error") ]], "nil" },
      { "an error", [[ local c = keep(socket.tcp()) c:settimeout(0) c:connect("127.0.0.1", closed()) socket.select(nil, { c }, 5)
        return c:getoption("error"), c:getoption("error") ]], [["connection refused" nil]] },
      { "unknown", [[ local a = pair() return raised(function() a:setoption("nope", true) end), raised(function() a:getoption("nope") end),
        raised(function() a:getoption("tcp-fastopen") end) ]],
        [["bad argument #1 to 'setoption' (unsupported option `nope')" "bad argument #1 to 'getoption' (unsupported option `nope')" ]] ..
        [["bad argument #1 to 'getoption' (unsupported option `tcp-fastopen')"]] },
      { "values of a wrong type", [[ local a = pair() return raised(function() a:setoption("keepalive", 1) end),
        raised(function() a:setoption("keepalive") end) ]],
        [["bad argument #2 to 'setoption' (boolean expected, got number)" ]] ..
        [["bad argument #2 to 'setoption' (boolean expected, got no value)"]] },
      { "numbers of a wrong type", [[ local a = pair() return raised(function() a:setoption("tcp-keepcnt", "x") end) ]],
        [["bad argument #2 to 'setoption' (number expected, got string)"]], "0 to the original" },
      { "of what has no descriptor", [[ return keep(socket.tcp()):getoption("keepalive") ]], [[nil "getsockopt failed"]] },
      { "a device", [[ local t = keep(socket.tcp4()) return t:getoption("bindtodevice") ]], [[""]], "newer than the original's 3.0" },
      { "set early are kept", [[ local s, port = server() local c = keep(socket.tcp()) local done = c:setoption("keepalive", true)
        c:connect("127.0.0.1", port) return done, c:getoption("keepalive") ]], "1.0 true", "the original forgets them" },
    })
  end)

  describe("functions", function()
    rows.declare(it, net, {
      { "constants", [[ return socket._DATAGRAMSIZE, socket._SOCKETINVALID, socket.BLOCKSIZE, socket._DEBUG, type(socket._VERSION) ]],
        [[8192 -1 2048 nil "string"]] },
      { "skip", [[ return socket.skip(2, 1, 2, 3, nil) ]], "3 nil" },
      { "skip all", [[ return select("#", socket.skip(5, 1, 2)) ]], "0" },
      { "gettime", [[ return math.abs(socket.gettime() - os.time()) < 2, (tostring(socket.gettime()):find("%.")) ~= nil ]], "true true" },
      { "sleep", [[ local start = socket.gettime() local n = select("#", socket.sleep(0.1)) local time = socket.gettime() - start
        socket.sleep(-1) return n, time >= 0.1 and time < 0.5 ]], "0 true" },
      { "sleep how long", [[ return raised(function() socket.sleep("x") end), raised(function() socket.sleep() end) ]],
        [["bad argument #1 to 'sleep' (number expected, got string)" "bad argument #1 to 'sleep' (number expected, got no value)"]] },
      { "unload", [[ return select("#", socket.__unload()) ]], "0" },
      { "choose", [[ local f = socket.choose{ default = function(a, b) return "d", a, b end, x = function(a, b) return "x", a, b end }
        local d = { f(1, 2) } return d[1], d[2], d[3], f("x", 3, 4) ]], [["d" 1 2 "x" 3 4]] },
      { "choose what is not there", [[ return raised(function() return (socket.sink("bogus", nil)) end) ]], [["unknown key (bogus)"]] },
      { "sinks", [[ local a, b = pair() local keep_open, closing = socket.sink("keep-open", a), socket.sink("close-when-done", a)
        local list = { keep_open("x"), keep_open(nil), closing("y"), closing.getfd() == a:getfd(), closing.dirty(), closing(nil) }
        return list[1], list[2], list[3], list[4], list[5], list[6], (b:receive("*a")) ]], [[1.0 1 1.0 true false 1 "xy"]] },
      { "a source by length", [[ local a, b = pair() b:send("abcdefgh") socket.BLOCKSIZE = 3 local source = socket.source("by-length", a, 7)
        local list = { source(), source(), source() } socket.BLOCKSIZE = 2048 return list[1], list[2], list[3], source() ]],
        [["abc" "def" "g" nil]] },
      { "a source until closed", [[ local a, b = pair() b:send("rest") b:close() local source = socket.source("until-closed", a)
        return source(), source(), a:getfd() ]], [["rest" nil -1.0]] },
      { "sources and sinks of one's own", [[ socket.sourcet.mine = function(x) return "source " .. x end
        local made = socket.source("mine", "x") socket.sourcet.mine = nil return made, type(socket.sinkt.default) ]],
        [["source x" "function"]] },
    })
  end)

  describe("exceptions", function()
    rows.declare(it, net, {
      { "try hands on", [[ return socket.try(1, nil, 3) ]], "1 nil 3" },
      { "protect catches", [[ return socket.protect(function() socket.try(nil, "oops", 3) end)() ]], [[nil "oops"]] },
      { "protect hands on", [[ return socket.protect(function(...) return ... end)(1, nil, 3) ]], "1 nil 3" },
      { "protect lets others through", [[ local own = {} local ok, err = pcall(socket.protect(function() error(own) end)) return ok, err == own ]],
        "false true" },
      { "strings keep their place", [[ local ok, err = pcall(socket.protect(function() error("words", 0) end)) return err ]], [["words"]] },
      { "what is raised", [[ local ok, err = pcall(socket.try, nil, "x") return type(err), err[1], getmetatable(err) ]], [["table" "x" false]] },
      { "finalizers", [[ local done = 0 local try = socket.newtry(function() done = done + 1 end)
        local result = { socket.protect(function() try(1) try(false, "bad") end)() } return done, result[1], result[2] ]], [[1 nil "bad"]] },
      { "a finalizer that fails", [[ local try = socket.newtry(function() error("worse", 0) end)
        local ok, err = pcall(socket.protect(function() try(nil, "bad") end)) return ok, err ]], [[false "worse"]] },
      { "nested", [[ local inner = socket.protect(function() socket.try(nil, "in") end)
        return socket.protect(function() local _, why = inner() socket.try(nil, why .. "out") end)() ]], [[nil "inout"]] },
      { "nobody makes one", [[ local ok, err = pcall(socket.protect(function() error({ "x" }) end)) return ok, err[1] ]], [[false "x"]] },
    })

    it("lets coroutines yield, where pcall does", function()
      if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
      local socket = rows.install(net)("socket")
      local routine = coroutine.wrap(socket.protect(function() coroutine.yield(1) socket.try(nil, "late") end))
      assert.equal(1, routine())
      assert.same({ n = 2, nil, "late" }, { n = 2, routine() })
    end)
  end)

  describe("better than the original", function()
    rows.declare(it, net, {
      { "a port out of range is refused, never taken modulo", [[ local s, port = server()
        local a, b = socket.connect("127.0.0.1", port + 65536), { socket.bind("127.0.0.1", 65536) }
        local u = keep(socket.udp()) return a, b[1], (u:sendto("x", "127.0.0.1", 70000)), (u:setpeername("127.0.0.1", -1)),
        select(2, socket.connect("127.0.0.1", 70000)) ]], [[nil nil nil nil "port must be 0 to 65535, got 70000"]], "N3" },
      { "a family is what was asked for", [[ local s, port = server() return socket.connect6("127.0.0.1", port) ]],
        [[nil "Address family for hostname not supported"]], "N4" },
      { "a connect that fails leaves no descriptor", [[ local before = keep(socket.tcp4()):getfd()
        for i = 1, 20 do socket.connect("127.0.0.1", 1, "203.0.113.1", 0) end return keep(socket.tcp4()):getfd() - before ]], "1.0", "N5" },
      { "no process inherits a socket", [[ local a = pair() local p = io.popen("ls /proc/self/fd") local fds = p:read("*a") p:close()
        return (fds:find("%f[%d]" .. math.floor(a:getfd()) .. "%f[%D]")) ]], "nil", "N6" },
      { "more than 1024 descriptors", [[ local s, many = server(), {} for i = 1, 1100 do local t = socket.tcp4()
        if not t then break end many[i] = keep(t) end local last = many[#many]
        local _, writable = socket.select(nil, { last }, 0) return #many < 1100 or last:getfd() > 1024 and writable[1] == last ]], "true", "N7" },
      { "a timeout of a month", [[ local a, b = pair() a:settimeout(86400 * 30) b:send("x\n") return (a:receive()) ]], [["x"]], "N8" },
    })

    --- In a process whose hosts file has two addresses for two.test.
    local function with_two_addresses(code)
      return child.run_with({ hosts = "127.0.0.1 localhost\n127.0.0.1 two.test\n127.0.0.2 two.test\n" }, [[
        require("caspian.net.compat").install(launch{ "--allow-net", "--allow-listen" })
        local socket = require("socket")
      ]] .. code)
    end

    if not child.can_mount() then return pending("mount namespaces are not allowed here") end

    -- N1: the original tries the second address with the socket that the first has refused.
    it("tries all addresses of a name", function()
      local said = with_two_addresses[[
        -- The first address refuses the port: who has it there does not listen, and nobody else can.
        local first = socket.tcp()
        assert(first:bind("127.0.0.1", 0))
        local _, port = first:getsockname()
        local server = assert(socket.bind("127.0.0.2", port))
        local c = socket.tcp()
        c:settimeout(2)
        print(c:connect("two.test", port) == 1, (c:getpeername()))
        print(socket.connect("two.test", port) ~= nil)
      ]]
      assert.equal("true\t127.0.0.2\ntrue", said)
    end)

    -- N2: the original asks the socket that is still busy with the first one.
    it("gives up an address that does not answer", function()
      local said = with_two_addresses[[
        local full = assert(socket.bind("127.0.0.1", 0, 0))
        local _, port = full:getsockname()
        local server = assert(socket.bind("127.0.0.2", port))
        local kept = {}
        for i = 1, 4 do kept[i] = socket.tcp() kept[i]:settimeout(0) kept[i]:connect("127.0.0.1", port) end
        socket.sleep(0.1)
        local c = socket.tcp()
        c:settimeout(0.3)
        print(c:connect("two.test", port) == 1, (c:getpeername()))
      ]]
      assert.equal("true\t127.0.0.2", said)
    end)
  end)
end)
