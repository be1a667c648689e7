-- The rows `header` (of requests) and `redirect` of tests/data/cases.tsv. The others of that table: tests/grants/cases.rs,
-- tests/guard_cases.rs, tests/namespace.rs. What a hostile answer does is tests/hostile_servers.rs.

local guards = require("spec.support.guards")

local function utf8_of(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64) end
  return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local PLAIN = { n = "\n", r = "\r", t = "\t", ["\\"] = "\\", ['"'] = '"', ["/"] = "/" }

-- The body of a JSON string, with {{rep:UNIT:N}}.
local function text(field)
  field = field:gsub("{{rep:(.-):(%d+)}}", function(unit, count) return unit:rep(tonumber(count)) end)
  field = field:gsub("\\u(%x%x%x%x)", function(hex) return utf8_of(tonumber(hex, 16)) end)
  return (field:gsub("\\([nrt\\\"/])", PLAIN))
end

local rows = {}
for line in io.lines("tests/data/cases.tsv") do
  local id, kind, input, context, expected = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)")
  rows[#rows + 1] = { id = id, kind = kind, input = text(input), context = text(context), expected = expected }
end

describe("the table's rows of", function()
  guards.fresh(before_each, after_each)

  it("headers: what a script may set, and what arrives", function()
    local count = 0
    local guarded = guards.make{}
    for _, row in ipairs(rows) do
      if row.kind == "header" and row.context == "request header from script" then
        local name, value = row.input:match("^(.-):%s?(.*)$")
        -- The first colon of `: v` is the end of an empty name.
        for what, fetch in pairs{ guard = guarded.fetch, fetch = guards.net.fetch } do
          local ok, got = pcall(fetch, guards.http .. "/headers", { headers = { [name] = value }, timeout = 5 })
          local said = row.id .. " through " .. what .. ": " .. tostring(got)
          if row.expected == "allow" then
            assert.is_true(ok, said)
            assert(got.body:lower():find((name .. ": " .. value):lower(), 1, true), said)
          -- Outside of guards a script may say what it likes, but for what cannot be a header. (H007: bytes past ASCII can.)
          elseif row.expected == "deny:argument" and (what == "guard" or row.id ~= "H007" and not row.input:find("^[%w-]+: [%w:=-]+$")) then
            assert.is_false(ok, said)
            assert(type(got) == "string" or got:is("network/too_large"), said)
          elseif what == "guard" then
            -- To strip is to refuse, or not to send.
            assert(not ok or not got.body:lower():find(row.input:lower(), 1, true), said)
          end
          count = count + 1
        end
      end
    end
    assert(count >= 40, count)
  end)

  it("redirects: each hop is a new request", function()
    local count = 0
    for _, row in ipairs(rows) do
      -- R033 is a line break in a header, which no server gets through to here.
      if row.id ~= "R033" and row.kind == "redirect" and row.context:find("^max_redirects=5") and not row.input:find("^%(") then
        local resolve = {}
        for _, port in ipairs{ 80, 443, 8443 } do resolve["api.example.com:" .. port] = "127.0.0.1" end
        -- The first answer is made here, so that only the hop after it knocks, where nobody listens.
        local guarded = guards.net.http.guard{
          rules = { host = "api.example.com", routes = { path = "/public/**", methods = "GET" } },
          resolve = resolve, allow_private = true, follow_redirects = true, max_redirects = 5, timeout = 5,
          middleware = function(ctx, next)
            if ctx.req.hop == 0 then return { status = 302, headers = { location = row.input } } end
            return next()
          end,
        }
        local ok, err = pcall(guarded.fetch, "https://api.example.com/public/a")
        local said = row.id .. " " .. row.input .. ": " .. tostring(err)
        assert.is_false(ok, said)
        local class = type(err) == "table" and err.class:match("[^/]+$") or "argument"
        if row.expected == "allow" then
          assert.equal("connection_refused", class, said)
        else
          assert(class:find("not_allowed$") or class == "protocol" or class == "argument", said)
        end
        count = count + 1
      end
    end
    assert(count >= 20, count)
  end)
end)

