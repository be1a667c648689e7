-- Contract 1: the module's doors, launch and register, and the seal.

local child = require("spec.support.child")

-- name, code, what it prints. `try(f, …)` prints an error's text without its position.
local helper = [[
local function try(f, ...)
  local ok, err = pcall(f, ...)
  print(ok and "no error" or (tostring(err):gsub("^[^ ]*:%d+: ", "")))
end
local function flags(list)
  table.sort(list)
  print(table.concat(list, " "))
end
]]

local rows = {
  { "a flag makes a net", [[print(launch{ "--allow-net=example.com" } ~= nil)]], "true" },
  { "no grant makes none", [[print((launch{}))]], "nil" },
  { "a deny alone makes none", [[print((launch{ "--deny-net=private" }))]], "nil" },
  { "--no-dns alone makes none", [[print((launch{ "--no-dns" }))]], "nil" },
  { "a listen grant is a network grant", [[print(launch{ "--allow-listen=127.0.0.1:0" } ~= nil)]], "true" },
  { "--standard connects and never listens",
    [[local net = launch{ "--standard" } print(net.allows("example.com", 443)) try(net.tcp_listen, "127.0.0.1", 0)]],
    "^true\n.*_not_allowed" },
  { "a table of grants",
    [[local net = launch{ allow_net = { "a.example:80", "b.example" }, allow_listen = { "8080" }, deny_net = { "c.example" } }
    flags(net.grants())]],
    "--allow-listen=8080 --allow-net=a.example:80 --allow-net=b.example --deny-net=c.example" },
  { "dns = false is --no-dns", [[local net = launch{ allow_net = { "a.example" }, dns = false } print(net.allows("a.example", 80))]], "false" },
  { "role user in the table", [[print(launch{ allow_net = { "a.example" }, role = "user" } ~= nil)]], "true" },
  { "both ways of calling", [[local net = launch{ "--allow-net=a.example" } print(net.allows("a.example", 1), net:allows("a.example", 1))]], "true\ttrue" },

  { "a class by its name",
    [[local net = launch{ "--allow-listen=127.0.0.1:0", "--allow-net" }
    local l = net.class("puck.uno/socket/tcp_listener").new{ host = "127.0.0.1", port = 0 }
    print(net.class("puck.uno/socket/tcp").new{ host = "127.0.0.1", port = l.local_port, timeout = 5 }.timeout)
    try(net.class, "puck.uno/no/such")]], "^5.*\nbad argument #1 to 'class'" },

  { "the second launch", [[launch{ "--allow-net=a.example" } try(launch, { "--allow-net" })]], "already launched" },
  { "the second launch, the first having granted nothing", [[launch{} try(launch, { "--allow-net" })]], "already launched" },
  { "register after launch", [[launch{ "--allow-net=a.example" } try(register, {}, { "--allow-net" })]], "already launched" },
  { "launch after register", [[register({}, { "--allow-net=a.example" }) try(launch, { "--allow-net" })]], "already launched" },
  { "register after register", [[register({}, {}) try(register, {}, { "--allow-net" })]], "already launched" },
  { "the seal holds when the front is loaded again",
    [[launch{ "--allow-net=a.example" }
    for name in pairs(package.loaded) do if name:find("caspian") then package.loaded[name] = nil end end
    try(require("caspian.net").launch, { "--allow-net" })]], "already launched" },
  { "the seal holds in a coroutine",
    [[launch{ "--allow-net=a.example" } coroutine.wrap(function() try(launch, { "--allow-net" }) end)()]], "already launched" },
  { "a launch in a coroutine seals the state",
    [[coroutine.wrap(function() launch{ "--allow-net=a.example" } end)() try(launch, { "--allow-net" })]], "already launched" },

  { "flags and named options do not mix", [[try(launch, { "--allow-net", deny_net = { "private" } })]],
    "bad argument #1 to 'launch' (flags must be a list without holes" },
  { "a hole in the flags is no end of them", [[try(launch, { "--allow-net", nil, "--deny-net=private" })]],
    "flags must be a list without holes" },
  { "narrow reads all of what it is given",
    [[local net = launch{ "--allow-net" } try(net.narrow, { "--allow-net", deny_net = { "private" } })]],
    "bad argument #1 to 'narrow' (flags must be a list without holes" },
  { "register says which argument is wrong", [[try(register, {}, { "--bad" })]], "bad argument #2 to 'register'" },
  { "requires says that it is wrong", [[try(launch, { "--allow-net", requires = { "x" } })]], "bad argument #1 to 'launch' (requires" },
  { "files beneath a directory, and one answer for all else, there or not", [[
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir -p " .. dir .. "/in " .. dir .. "/out; cd " .. dir .. "; echo x >in/a; echo x >out/b; ln -s ../out/b in/b;" ..
      "ln -s ../out/none in/none; ln -s $PWD/in/a in/c; ln -s in out/in")
    local net = launch{ allow_net = { "127.0.0.1:1" }, files = { dir .. "/in" } }
    local function ask(name)
      local path = dir .. "/" .. name
      local _, why = pcall(net.fetch, "http://127.0.0.1:1/", { method = "POST", body_file = path })
      if type(why) == "table" then return "read" end
      local from, to = why:find(path, 1, true)
      return why:sub(1, from - 1) .. "P" .. why:sub(to + 1)
    end
    print(ask("in/a"), ask("in/c"), ask("out/../in/a"))
    local one = ask("out/b")
    for _, name in ipairs{ "out/none", "out/b/x", "out", "none/x", "in/b", "in/none", "in/b/x", "in/../out/b", "out/in/a" } do
      if ask(name) ~= one then print(name, ask(name)) end
    end
    print(one:match("not allowed.*"))
    os.execute("rm -r " .. dir)]], "read\tread\tread\nnot allowed (--allow-fs=DIR names other directories))" },
  { "files is a flag or a list", [[try(launch, { "--allow-net", files = "dir" })]], "bad argument #1 to 'launch' (files" },
  { "code that gets hold of require later gets no wider capability",
    [[local net = launch{ "--allow-net=a.example", "--allow-net=b.example" }
    local less, stolen = net.narrow{ "--allow-net=b.example" }, nil
    for name, module in pairs(package.loaded) do
      if name:find("caspian") and type(module) == "table" then
        for key, value in pairs(module) do
          if type(value) == "function" then
            module[key] = function(...)
              for i = 1, select("#", ...) do if type((select(i, ...))) == "userdata" then stolen = (select(i, ...)) end end
              return value(...)
            end
          end
        end
      end
    end
    print(net.allows("a.example", 1), less.allows("a.example", 1), net.narrow{ "--allow-net=a.example" }.allows("a.example", 1), stolen)]],
    "true\tfalse\ttrue\tnil" },
  { "classes belong to who asked for them",
    [[local net = launch{ "--allow-net" } net.class("puck.uno/http/client").new = print
    print(net.class("puck.uno/http/client").new ~= print)]], "true" },
  { "a foreign value is not made a socket",
    [[local core = require("caspian_net")
    print(core.seal, core.object)
    if core.class then
      pcall(core.class, "tcp", {}, getmetatable(io.stdout))
      print(core.get and (select(2, core.get(io.stdout, "host"))))
    end]], "^nil\tnil\n.*not a socket" },
  { "the module can be loaded in a coroutine that goes",
    [[local net
    for name in pairs(package.loaded) do if name:find("caspian") then package.loaded[name] = nil end end
    coroutine.wrap(function() net = require("caspian.net").launch{ "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" } end)()
    for _ = 1, 5 do collectgarbage() end
    local l = net.tcp_listen("127.0.0.1", 0)
    local c = net.tcp("127.0.0.1", l.local_port)
    try(c.recv, c, 1, { timeout = 0.3 })]], "network/timeout" },
  { "a host may have a require of its own",
    [[local path, loaded = package.path, { caspian_net = package.loaded.caspian_net }
    function require(name)
      for template in path:gmatch("[^;]+") do
        local chunk = not loaded[name] and loadfile((template:gsub("%?", (name:gsub("%.", "/")))))
        if chunk then loaded[name] = chunk(name) end
      end
      return loaded[name] or error("no module " .. name)
    end
    package = { loaded = loaded, preload = {} }
    local net = require("caspian.net").launch{ "--allow-net" }
    print(type(net.fetch), type(net.http.guard))]], "function\tfunction" },

  { "register sets %net", [[local env = {} register(env, { "--allow-net=a.example" }) print(env["%net"].allows("a.example", 1))]], "true" },
  { "register without grants", [[local env = {} register(env, {}) print(env["%net"])]], "nil" },
  { "register for role user", [[local env = {} register(env, { "--allow-net" }, { role = "user" }) print(env["%net"] ~= nil)]], "true" },
  { "register for another role", [[local env = {} register(env, { "--allow-net" }, { role = "library" }) print(env["%net"])]], "nil" },
  { "register for another role, in the table", [[local env = {} register(env, { allow_net = { "a.example" }, role = "library" }) print(env["%net"])]], "nil" },
  { "a second register for another role",
    [[local env = {} register({}, { "--allow-net" }, { role = "library" }) try(register, env, { "--allow-net" })]],
    "already launched" },

  { "requires: what is missing",
    [[local _, missing = launch{ "--allow-net=a.example:443", requires = { "a.example:443", "b.example:443" } } flags(missing)]],
    "--allow-net=b.example:443" },
  { "requires: nothing is missing",
    [[local _, missing = launch{ "--allow-net", requires = { "a.example:443" } } print(#(missing or {}))]], "0" },
  { "requires: no grant at all",
    [[local net, missing = launch{ requires = { "a.example:443" } } print(net) flags(missing)]], "nil\n--allow-net=a.example:443" },
  { "requires with register",
    [[local env = {} local _, missing = register(env, { "--allow-net=a.example" }, { requires = { "b.example:80" } }) flags(missing)]],
    "--allow-net=b.example:80" },

  { "an unknown flag", [[try(launch, { "--allow-everything" })]], "--allow-everything" },
  { "an empty value", [[try(launch, { "--allow-net=" })]], "--allow-net=" },
  { "a malformed value is named", [[try(launch, { "--allow-net=ok.example", "--allow-net=exa mple.com" })]], "exa mple.com" },
  { "one malformed value of several: nothing runs", [[try(launch, { "--allow-net=a.example,:80" })]], ":80" },
  { "not a table", [[try(launch, 5)]], "bad argument #1 to 'launch'" },
  { "nothing", [[try(launch)]], "bad argument #1 to 'launch'" },
  { "a flag that is no string", [[try(launch, { {} })]], "bad argument #1 to 'launch'" },
  -- An empty deny_net would be the opposite of what was meant.
  { "a set is no list", [[try(launch, { allow_net = true, deny_net = { private = true } })]], "deny_net must be a list of strings" },
  { "a list with holes", [[try(launch, { allow_net = true, deny_net = { [2] = "private" } })]], "deny_net must be a list of strings" },
  { "a set in a narrowing", [[local net = launch{ "--allow-net" } try(net.narrow, { allow_net = true, deny_net = { private = true } })]],
    "deny_net must be a list of strings" },
  { "an unknown key", [[try(launch, { allow_nett = { "a.example" } })]], "allow_nett" },
  { "a key of the wrong type", [[try(launch, { allow_net = 5 })]], "allow_net" },
  { "register without an environment", [[try(register, nil, {})]], "bad argument #1 to 'register'" },

  { "the metatable of net is locked",
    [[local net = launch{ "--allow-net=a.example" } print(type(getmetatable(net)) == "table" or pcall(setmetatable, net, {}))]],
    "^false" },
  { "no globals appear",
    [[local before = {} for name in pairs(_G) do before[name] = true end
    package.loaded["caspian.net"] = nil
    require("caspian.net").launch{ "--allow-net=a.example" }
    for name in pairs(_G) do if not before[name] then print(name) end end print("end")]], "^end$" },
  { "it closes its state with sockets open",
    [[local net = launch{ "--allow-listen", "--allow-net" } local l = net.tcp_listen("127.0.0.1", 0)
    keep = { l, net.tcp("127.0.0.1", l.local_port), net.udp() } print("end")]], "^end$" },
}

describe("launch", function()
  for _, row in ipairs(rows) do
    local name, code, expected = row[1], row[2], row[3]
    it(name, function()
      local said = child.run(helper .. code)
      local plain = not expected:find("^%^") -- most rows are text, not patterns
      assert(said:find(expected, 1, plain), "expected: " .. expected .. "\ngot: " .. said)
    end)
  end
end)
