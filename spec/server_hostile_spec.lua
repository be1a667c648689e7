-- Contract 9: requests that are refused, over a real socket: the table of spec/data/hostile_requests.tsv, each with the status
-- and the close that it names. Who is refused delays nobody, and the script goes on.

local net = require("spec.support.subject").net
local peer = require("spec.support.peer")
local wire = require("spec.support.wire")

local function rows()
  local all = {}
  for line in io.lines("spec/data/hostile_requests.tsv") do
    if line:sub(1, 1) ~= "#" then
      local status, name, bytes = line:match("^(%d+)\t([^\t]*)\t(.*)$")
      all[#all + 1] = { status = tonumber(status), name = name, bytes = bytes }
    end
  end
  return all
end

--- The other end: sends each row on a connection of its own, cut in two, and reports the status and whether it was closed.
local CLIENT = [[
  c:close()
  local function unescape(text)
    text = text:gsub("{(%%d+)%%*(.)}", function(count, byte) return byte:rep(tonumber(count)) end)
    return (text:gsub("\\(.)(%%x?%%x?)", function(escape, digits)
      if escape == "x" then return string.char(tonumber(digits, 16)) end
      return (({ r = "\r", n = "\n", t = "\t" })[escape] or escape) .. digits
    end))
  end
  for line in io.lines("spec/data/hostile_requests.tsv") do
    local expected, _, text = line:match("^(%%d+)\t([^\t]*)\t(.*)$")
    if expected then
      local bytes = unescape(text)
      local s = socket.tcp4()
      s:settimeout(10)
      assert(s:connect("127.0.0.1", %d))
      local cut = math.floor(#bytes / 2)
      s:send(bytes:sub(1, cut))
      s:send(bytes:sub(cut + 1))
      local status = s:receive("*l")
      if expected ~= "200" then
        -- Refused: the connection ends.
        local rest, why, part = s:receive("*a")
        report((status or "nothing"):match("%%d%%d%%d") or "nothing", (rest or why ~= "timeout" and part) and "closed" or "open")
      else
        report((status or "nothing"):match("%%d%%d%%d") or "nothing", "kept")
      end
      s:close()
    end
  end
  report("done")
]]

describe("http server refuses", function()
  local server
  after_each(function()
    if server then server:close() end
    server = nil
  end)
  wire.watch(before_each, after_each)

  it("what is ambiguous or broken, with its status and a close", function()
    local all, good, refusals = rows(), 0, {}
    server = net.http.server("127.0.0.1", 0, { http2 = false, on_refused = function(info) refusals[#refusals + 1] = info end })
    local port = server.local_port
    local p = peer.client(port, CLIENT:format(port))
    local expected = 0
    for _, row in ipairs(all) do if row.status == 200 then expected = expected + 1 end end
    local ended = os.time() + 60
    while #refusals < #all - expected or good < expected do
      assert(os.time() < ended, "too few: " .. good .. " of " .. expected .. ", refused " .. #refusals)
      local ok, request = pcall(server.accept, server, { timeout = 0.2 })
      if ok then
        good = good + 1
        request:respond(200)
      end
    end
    -- The last ones read their goodbye.
    local reported
    while true do
      local ok = pcall(server.accept, server, { timeout = 0.5 })
      if not ok then break end
    end
    reported = p:finish()
    assert.equal("done", reported[#reported])
    local wrong = {}
    for at, row in ipairs(all) do
      local status, state = reported[2 * at - 1], reported[2 * at]
      if tonumber(status) ~= row.status or state ~= (row.status == 200 and "kept" or "closed") then
        wrong[#wrong + 1] = ("%s: %s, %s"):format(row.name, tostring(status), tostring(state))
      end
    end
    assert.same({}, wrong)
    assert.equal(#all - expected, #refusals)
    for _, info in ipairs(refusals) do
      assert.equal("127.0.0.1", info.remote_host)
      assert.is_string(info.reason)
    end
  end)
end)
