--- The table: reads what `run` measured, prints each row with its target and whether it is met (Markdown).
-- The exit status is 1 if a target is missed.
local results = {} -- row, side -> list of { number, … }
for line in io.lines(arg[1]) do
  local row, side, rest = line:match("^(%S+) (%S+) ?(.*)$")
  local figures = {}
  for word in rest:gmatch("%S+") do figures[#figures + 1] = tonumber(word) or false end
  local key = row .. " " .. side
  results[key] = results[key] or {}
  table.insert(results[key], figures)
end

local function median(list)
  if #list == 0 then return nil end
  table.sort(list)
  local middle = (#list + 1) // 2
  return #list % 2 == 1 and list[middle] or (list[middle] + list[middle + 1]) / 2
end

--- The median of a side's figures: 1 is CPU (or the only value), 2 the clock.
local function value(row, side, index)
  local list = {}
  for _, figures in ipairs(results[row .. " " .. side] or {}) do
    if figures[index or 1] then list[#list + 1] = figures[index or 1] end
  end
  return median(list)
end

--- The median, over the turns, of what `side` took divided by what ours took: how many times faster ours is.
local function times(row, side, index)
  local a, b, list = results[row .. " ours"] or {}, results[row .. " " .. side] or {}, {}
  for turn = 1, math.min(#a, #b) do
    if a[turn][index] and b[turn][index] then list[#list + 1] = b[turn][index] / a[turn][index] end
  end
  return median(list)
end

local missed = 0
local function row(name, cells, target, met)
  local words = met == nil and (target == "" and "" or "not measured") or met and "yes" or "**no**"
  if target ~= "" and not met then missed = missed + 1 end
  print(("| %s | %s | %s | %s |"):format(name, table.concat(cells, " | "), target, words))
end

local function show(form, number, scale)
  return number and form:format(number * (scale or 1)) or "–"
end

local NAMES = { c = "C", luasocket = "LuaSocket", luasec = "LuaSec" }

local function micro(seconds, count) return ("%.2f µs"):format(seconds / count * 1e6) end
local function nano(seconds, count) return ("%.0f ns"):format(seconds / count * 1e9) end
local function rate(seconds, mib) return ("%.0f MiB/s"):format(mib / seconds) end

local function sockets()
  print("| measurement | ours | LuaSocket / LuaSec | C | × CPU | × clock | target | met |")
  print("|---|---|---|---|---|---|---|---|")

  --- System calls for each trip, against those of the C client.
  local function calls(name, id, most)
    local ours, c = value(id, "ours"), value(id, "c")
    row(name, { show("%.2f", ours), show("%.2f", value(id, "luasocket")), show("%.2f", c), "", "" },
      ("≤ %d where C needs 2"):format(most), ours and ours <= most + 0.05)
  end

  --- A timed row: what `id` took in the words of `form`, which knows how much one measurement does (`scale`). × is how
  -- many times less time ours takes than `against`. `judge` names the × that must reach `least`: of what the client alone
  -- does, "cpu"; of what it shares with a server that has more to do, "clock".
  local function timed(name, id, other, against, form, scale, least, judge)
    local cpu, clock = times(id, against, 1), times(id, against, 2)
    local function cell(side)
      local figure = side and value(id, side, 1)
      return figure and ("%s (%s)"):format(form(figure, scale), form(value(id, side, 2), scale)) or "–"
    end
    local met
    if cpu then met = (judge == "cpu" and cpu or clock) >= least end
    row(name, { cell("ours"), cell(other), cell("c"), show("%.2f", cpu), show("%.2f", clock) },
      ("≥ %.1f × %s, %s"):format(least, NAMES[against], judge), met)
  end

  calls("64-byte echo: system calls each, answer at hand", "echo_calls", 2)
  calls("the same, each answer waited for", "echo_wait_calls", 3)
  timed("64-byte echo round trip", "echo", "luasocket", "luasocket", micro, 20000, 1.0, "cpu")
  timed("`recv_line`, lines of 64 bytes", "lines", "luasocket", "luasocket", nano, 1000000, 1.2, "cpu")
  timed("`recv_exact` of 1 MiB", "exact", "luasocket", "c", rate, 256, 0.9, "clock")
  timed("256 MiB body into a string, HTTP", "http", "luasocket", "luasocket", rate, 256, 2.5, "cpu")
  timed("256 MiB body into a string, HTTPS", "https", "luasec", "luasec", rate, 256, 2.5, "cpu")
  local grown = value("http", "ours", 3)
  row("the same over HTTP, memory over idle",
    { show("%.0f MiB", grown, 2 ^ -20), show("%.0f MiB", value("http", "luasocket", 3), 2 ^ -20), "", "", "" },
    "< 272 MiB", grown and grown < 272 * 2 ^ 20)

  local function alone(name, cell, target, met) row(name, { cell, "", "", "", "" }, target, met) end
  local function below(name, form, number, scale, limit, target)
    alone(name, show(form, number, scale), target, number and number * (scale or 1) < limit)
  end

  below("grant check, dearest question, 1 grant", "%.0f ns", value("grant_one", "ours"), 1, 250, "< 250 ns")
  below("the same, 100,000 grants", "%.0f ns", value("grant_many", "ours"), 1, 250, "< 250 ns")
  alone("the same, each of 100,000 hosts asked once (far memory)", show("%.0f ns", value("grant_cold", "ours")), "")
  local cpu, clock = value("launch", "ours", 1), value("launch", "ours", 2)
  alone("`require` and `launch`", cpu and ("%.2f ms (%.2f ms)"):format(cpu * 1e3, clock * 1e3) or "–", "< 3 ms",
    cpu and clock < 3e-3)
  local store, tls = value("store", "ours"), value("store_tls", "ours")
  -- Once TLS is asked for it must show: else the trace would not have seen it.
  alone("trust store files opened before a TLS connection", ("%s (then %s)"):format(show("%d", store), show("%d", tls)), "0",
    store and tls and store == 0 and tls > 0)
  below("the module, stripped", "%.2f MB", value("size", "ours"), 1e-6, 9, "< 9 MB")
  below("10,000 idle sockets, our memory each: opened", "%.0f B", value("idle", "ours", 1), 1, 2048, "< 2 KiB")
  below("the same, after each was used once", "%.0f B", value("idle", "ours", 2), 1, 2048, "< 2 KiB")
  local left = value("idle", "ours", 3)
  alone("the same, dropped without `close`: still open", show("%d", left), "0", left and left == 0)
  alone("2,000 idle TLS sockets, our memory each", show("%.0f B", value("idle_tls", "ours", 1)), "")
end

--- As an HTTP client. `cells` names the sides; × is of CPU against `cpu`, of the clock against `clock`.
local function clients()
  print("| HTTP | ours | Lua-cURL | libcurl in C | other | × CPU | × clock | target | met |")
  print("|---|---|---|---|---|---|---|---|---|")
  local function cell(id, side, form, scale)
    local cpu, clock = value(id, side, 1), value(id, side, 2)
    if not clock then return "–" end
    return cpu and ("%s (%s)"):format(form(cpu, scale), form(clock, scale)) or ("(%s)"):format(form(clock, scale))
  end
  local function compared(name, id, sides, form, scale, judged, least, judge, words)
    local cells = {}
    for at = 1, 4 do
      local side = ({ "ours", "luacurl", "c", sides })[at]
      cells[at] = side and cell(id, side, form, scale) or ""
    end
    local cpu, clock = times(id, judged, 1), times(id, judged, 2)
    cells[5], cells[6] = cpu and show("%.2f", cpu) or "", show("%.2f", clock)
    local number = judge == "cpu" and cpu or judge == "clock" and clock
    row(name, cells, ("≥ %.1f × %s, %s"):format(least, words, judge), number and number >= least)
  end
  for _, scheme in ipairs{ "http", "https" } do
    local name, id = scheme:upper(), "get_" .. scheme
    compared("small GET on a kept connection, " .. name, id, "wrk", micro, 10000, "luacurl", 1, "cpu", "Lua-cURL")
    compared("the same, requests/s", id, "wrk", micro, 10000, "wrk", 0.9, "clock", "wrk")
  end
  -- The other is the plain GET of the same page: ours may take more, by so much.
  local more = times("json", "plain", 1)
  compared("GET as programs have it: two headers and a timeout of the client's, a header of its own, JSON decoded", "json", "plain",
    micro, 10000, "luacurl", 1, "cpu", "Lua-cURL")
  row("the same, beside the plain GET of that page", { show("%.2f times", more and 1 / more), "", "", "", "", "" },
    "≤ 1.4 ×, cpu", more and 1 / more <= 1.4)
  compared("new HTTPS connection for each GET", "new", nil, micro, 300, "c", 1, "clock", "libcurl")
  compared("the same, session resumed", "resumed", nil, micro, 300, "c", 1, "clock", "libcurl")
  for _, scheme in ipairs{ "http", "https" } do
    local name, id = scheme:upper(), "stream_" .. scheme
    compared("256 MiB streamed, " .. name, id, "curl", rate, 256, "curl", 0.9, "clock", "`curl`")
    local grown = value(id, "ours", 3)
    row("the same, memory over idle", { show("%.1f MiB", grown, 2 ^ -20), "", "", "", "", "" }, "< 8 MiB",
      grown and grown < 8 * 2 ^ 20)
  end
  compared("200 GETs, the server waits 5 ms: `fetch_all`", "all", "loop", micro, 200, "loop", 4, "clock", "one by one")
end

--- The drop-in for LuaSocket: what it costs over the sockets beneath, and beside the original.
local function drop_in()
  print("| drop-in | the socket beneath | drop-in | LuaSocket | × beneath, CPU | × LuaSocket, CPU | target | met |")
  print("|---|---|---|---|---|---|---|---|")
  --- The median, over the turns, of what `a` took divided by what `b` took.
  local function ratio(id, a, b)
    local over, under, list = results[id .. " " .. a] or {}, results[id .. " " .. b] or {}, {}
    for turn = 1, math.min(#over, #under) do
      if over[turn][1] and under[turn][1] then list[#list + 1] = over[turn][1] / under[turn][1] end
    end
    return median(list)
  end
  for _, words in ipairs{
    { "64-byte echo round trip", "compat_echo", micro, 20000 },
    { "`receive(\"*l\")`, lines of 64 bytes", "compat_lines", nano, 1000000 },
    { "`receive(65536)`", "compat_blocks", rate, 256 },
    { "`receive(1048576)`", "compat_exact", rate, 256 },
  } do
    local name, id, form, scale = words[1], words[2], words[3], words[4]
    local function cell(side)
      local figure = value(id, side, 1)
      return figure and form(figure, scale) or "–"
    end
    local cost, gain = ratio(id, "compat", "beneath"), ratio(id, "luasocket", "compat")
    row(name, { cell("beneath"), cell("compat"), cell("luasocket"), show("%.2f", cost), show("%.2f", gain) },
      "≤ 1.15 of beneath, ≥ 1.0 × LuaSocket", cost and gain and cost <= 1.15 and gain >= 1.0)
  end
end

local tables = 0
for _, part in ipairs{ { "echo ours", sockets }, { "compat_echo beneath", drop_in }, { "get_http ours", clients } } do
  if results[part[1]] then
    if tables > 0 then print() end
    part[2]()
    tables = tables + 1
  end
end

local NOTE = "\nTime is CPU, user and system (in brackets: the clock); × is how many times less than the other side's, the"
print((NOTE .. "\nmedian within turns. Medians of %s turns."):format(arg[2]))
os.exit(missed == 0 and 0 or 1)
