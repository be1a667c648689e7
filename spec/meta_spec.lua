-- What editors are told (lua/caspian/net/meta.lua) is what there is: every function and field, both ways. Options are in options_spec.lua.

local net = require("spec.support.subject").net
local zoo = require("spec.support.zoo")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Classes by name: { parents =, members = { [name] = "function", "field" or "optional" } }.
local function declared(text)
  local classes, variables, current = {}, {}, nil
  for line in text:gmatch("[^\n]+") do
    local name, parents = line:match("^%-%-%-@class caspian%.net%.([%w_]+):?(.*)$")
    local field, optional = line:match("^%-%-%-@field ([%w_]+)(%??)")
    local quoted = line:match('^%-%-%-@field %["(.-)"%]')
    local variable, member = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
    if not variable then variable, member = line:match("^([%w_]+)%.([%w_]+) = ") end
    if name then
      current = { parents = {}, members = {} }
      for parent in parents:gmatch("caspian%.net%.([%w_]+)") do current.parents[#current.parents + 1] = parent end
      assert(not classes[name], "declared twice: " .. name)
      classes[name] = current
    elseif field or quoted then
      local kind = (optional == "?" or line:find("^%-%-%-@field [%w_]+ [%w_]+%?") or line:find("write only")) and "optional" or "field"
      current.members[field or quoted] = kind
    elseif line:find("^local [%w_]+ = {}$") then
      variables[line:match("^local ([%w_]+)")] = current
    elseif variable then
      local class = variables[variable]
      class.members[member] = "function"
    end
  end
  return classes
end

local classes = declared(read("lua/caspian/net/meta.lua"))

--- The members of a class and of its parents.
local function members(name, into)
  into = into or {}
  local class = assert(classes[name], "there is no class " .. name)
  for _, parent in ipairs(class.parents) do members(parent, into) end
  for member, kind in pairs(class.members) do into[member] = kind end
  return into
end

--- Every word that the front and the binding have: what a value answers to is among them.
local words = { ["ok?"] = true, ["connected?"] = true }
for _, command in ipairs{ "ls lua/caspian/net.lua lua/caspian/net/*.lua lua/caspian/net/mail/*.lua lua/caspian/net/mail/*/*.lua", "ls src/lua/*.rs" } do
  local list = io.popen(command)
  for path in list:lines() do
    for word in read(path):gmatch("[%a_][%w_]*") do words[word] = true end
  end
  list:close()
end

-- The zoo's values by their classes.
local VALUES = {
  net = "Net", http = "Http", ["http.client"] = "Http_client", client = "Client", jail = "Jail", jar = "Jar", tcp = "Tcp", accepted = "Tcp",
  ssl = "Ssl", udp = "Udp", listener = "Listener", websocket = "Websocket", events = "Events", response = "Response",
  guard = "Guard", guarded = "Guarded_response", error = "Error", smtp = "Smtp", imap = "Imap", pop3 = "Pop3", ftp = "Ftp",
}

describe("the types for editors", function()
  it("have what values have, and nothing else", function()
    local values, done = zoo.open()
    local wrong = {}
    local function compare(label, value, class)
      local known = members(class)
      for word in pairs(words) do
        local ok, found = pcall(function() return value[word] end)
        if ok and found ~= nil and not known[word] then wrong[#wrong + 1] = label .. "." .. word .. " is not in " .. class end
      end
      for member, kind in pairs(known) do
        local ok, found = pcall(function() return value[member] end)
        if kind ~= "optional" and (not ok or found == nil) then wrong[#wrong + 1] = class .. "." .. member .. " is not in " .. label end
        if ok and found ~= nil and kind == "function" and type(found) ~= "function" and type(found) ~= "table" then
          wrong[#wrong + 1] = class .. "." .. member .. " is no function"
        end
      end
    end
    assert(values.imap:select("INBOX")) -- else it has no `selected`
    for label, class in pairs(VALUES) do compare(label, values[label], class) end
    compare("the module", require("caspian.net"), "Module")
    for name, class in pairs{ url = "Url", json = "Json", base64 = "Base64", hash = "Hash", mail = "Mail" } do compare(name, net[name], class) end
    local app = net.http.sammy()
    compare("http.sammy", net.http.sammy, "Sammy_class")
    compare("an app", app, "Sammy")
    compare("its responses", app.response, "Sammy_responses")
    compare("a redirect", app.response.redirect, "Sammy_redirect")
    compare("a response of an app", app.response.empty(200), "Sammy_response")
    local uds = net.uds{ path = "/run/never.sock", authenticate = true }
    compare("an app on a Unix socket", uds, "Uds")
    compare("its client", uds.client, "Uds_client")
    compare("the codec", require("caspian.net.codec"), "Codec")
    compare("the drop-in", require("caspian.net.compat"), "Compat")
    done()
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("name classes that there are", function()
    local text = read("lua/caspian/net/meta.lua")
    for line in text:gmatch("\n(%-%-%-@[^\n]+)") do
      for name in line:gmatch("caspian%.net%.([%w_]+)") do
        assert.truthy(classes[name] or text:find("@alias caspian.net." .. name .. " ", 1, true), line)
      end
    end
    assert.equal("table", type(net))
  end)
end)
