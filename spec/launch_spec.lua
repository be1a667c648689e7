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

  { "a class by its URL and in puck.uno/network, with a dot and a colon", [[
    local net = launch{ "--allow-listen=127.0.0.1:0", "--allow-net" }
    for _, name in ipairs{ "puck.uno/http/client", "https://puck.uno/http/client", "http://puck.uno/network/http/client",
      "puck.uno/network/http/client" } do
      local class = net.class(name)
      print(net.kind(class), net.kind(class.new{ timeout = 1 }), net.kind(class:new{ timeout = 1 }), net.kind(class:new()))
    end
    local l = net:class("https://puck.uno/socket/tcp_listener"):new{ host = "127.0.0.1", port = 0 }
    print(net.kind(net.class("https://puck.uno/network/socket/tcp"):new{ host = "127.0.0.1", port = l.local_port }))
    try(net.class, "puck.uno/http/clinet") try(net.class, "ftp://puck.uno/http/client")
    local new = net.class("puck.uno/socket/tcp").new
    try(new, { host = "127.0.0.1", port = "80" }) try(new, { port = 80 }) try(new, { host = "127.0.0.1" }) try(new)]],
    ("class\tclient\tclient\tclient\n"):rep(4) .. "tcp\n"
    .. 'bad argument #1 to \'class\' (unknown class "puck.uno/http/clinet"; did you mean "puck.uno/http/client"?)\n'
    .. 'bad argument #1 to \'class\' (unknown class "ftp://puck.uno/http/client")\n'
    .. 'bad argument #1 to \'new\' (port must be a port, 0..65535: a number, got a string ("80"))\n'
    .. "bad argument #1 to 'new' (host is missing)\nbad argument #1 to 'new' (port is missing)\n"
    .. "bad argument #1 to 'new' (a table of options expected, got nil)" },
  { "a class by its name",
    [[local net = launch{ "--allow-listen=127.0.0.1:0", "--allow-net" }
    local l = net.class("puck.uno/socket/tcp_listener").new{ host = "127.0.0.1", port = 0 }
    print(net.class("puck.uno/socket/tcp").new{ host = "127.0.0.1", port = l.local_port, timeout = 5 }.timeout)
    try(net.class, "puck.uno/no/such")]], "^5.*\nbad argument #1 to 'class'" },

  { "the second launch", [[launch{ "--allow-net=a.example" } try(launch, { "--allow-net" })]], "already launched" },
  { "a launch that delivers nothing does not seal", [[
    print((launch{}), (launch{ "--deny-net=private" }), (launch{ allow_net = { "a.example" }, role = "library" }))
    for _, wrong in ipairs{ 5, { "--bad" }, { "--allow-net=" }, { allow_nett = true }, { "--allow-net", files = 5 },
      { "--allow-net", requires = { "a b" } }, { "--allow-net", files = { "/no/such/directory" } },
      { "--allow-net", "--net-log=/no/such/directory/log" }, { "--allow-net", role = 5 } } do
      local ok, err = pcall(launch, wrong)
      print(ok, (tostring(err):find("bad argument #1 to 'launch' (", 1, true)) ~= nil)
    end
    print((launch{ "--allow-net=a.example" }).allows("a.example", 1))
    try(launch, { "--allow-net" })]], "nil\tnil\tnil\n" .. ("false\ttrue\n"):rep(9) .. "true\nlaunch: already launched" },
  { "register after launch", [[launch{ "--allow-net=a.example" } try(register, {}, { "--allow-net" })]], "already launched" },
  { "launch after register", [[register({}, { "--allow-net=a.example" }) try(launch, { "--allow-net" })]], "already launched" },
  { "register after register", [[register({}, { "--allow-net" }) try(register, {}, { "--allow-net" })]], "register: already launched" },
  { "a register that delivers nothing does not seal", [[
    local env = {}
    print((register(env, {})), (register(env, { "--allow-net" }, { role = "library" })), env["%net"])
    try(register, 5, { "--allow-net" })
    try(register, env, { "--allow-net" }, { role = 5 })
    print(register(env, { "--allow-net=a.example" }) == env["%net"], env["%net"] ~= nil)
    try(launch, { "--allow-net" })]], "nil\tnil\tnil\nbad argument #1 to 'register' (env must be a table, got 5)\n"
    .. "bad argument #3 to 'register' (role must be a string, got 5)\ntrue\ttrue\nlaunch: already launched" },
  { "an environment that refuses the field gets nothing, and nothing is sealed", [[
    local seen = {}
    local function meta(set) return setmetatable({}, { __newindex = function(_, _, value) seen[#seen + 1] = value set(value) end }) end
    try(register, meta(function() error("not here", 0) end), { "--allow-net" })
    try(register, meta(function() end), { "--allow-net" })
    try(register, meta(function() try(launch, { "--allow-net" }) error("nor here", 0) end), { "--allow-net" })
    for _, net in ipairs(seen) do print(net.allows("127.0.0.1", 1), select(2, pcall(net.tcp, "127.0.0.1", 1)):is("socket")) end
    local kept = {}
    print(register(setmetatable({}, { __newindex = kept, __index = kept }), { "--allow-net" }) == kept["%net"])]],
    "not here\nbad argument #1 to 'register' (env does not take the field \"%net\")\nlaunch: already launched\nnor here\n"
    .. ("false\ttrue\n"):rep(3) .. "true" },
  { "a registrar registers as often as its holder likes", [[
    local caspian = require("caspian.net")
    local again = caspian.registrar()
    try(caspian.registrar) try(launch, { "--allow-net" }) try(register, {}, { "--allow-net" })
    local envs = {}
    for i = 1, 3 do
      envs[i] = {}
      local net, missing = again(envs[i], { "--allow-net=h" .. i .. ".example" }, { requires = { "h1.example" } })
      print(net == envs[i]["%net"], net.kind(missing), #missing, net.allows("h1.example", 1), net.allows("h2.example", 1))
    end
    print((again({}, {})), (again({}, { "--allow-net" }, { role = "library" })))
    try(again, {}, { "--bad" }) try(again)
    envs[1]["%net"].revoke()
    print(envs[1]["%net"].allows("h1.example", 1), envs[2]["%net"].allows("h2.example", 1))
    -- Each is a capability of its own, with the classes of all.
    local env = {}
    again(env, { "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" })
    local net = env["%net"]
    local l = net.tcp_listen("127.0.0.1", 0)
    local c, s = net.tcp("127.0.0.1", l.local_port), l:accept()
    c:send_all("x\n") print((s:recv_line()))]],
    "registrar: already launched\nlaunch: already launched\nregister: already launched\n"
    .. "true\tarray\t0\ttrue\tfalse\ntrue\tarray\t1\tfalse\ttrue\ntrue\tarray\t1\tfalse\tfalse\nnil\tnil\n"
    .. "bad argument #2 to 'register' (--bad: unknown flag)\nbad argument #1 to 'register' (env must be a table, got nil)\n"
    .. "false\ttrue\nx" },
  { "no registrar after a launch", [[launch{ "--allow-net" } try(require("caspian.net").registrar)]], "registrar: already launched" },
  { "what seals the state cannot be undone from the core", [[
    launch{ "--allow-net=a.example" }
    local core = require("caspian_net")
    for _, value in ipairs{ false, {}, io.stdout, "x" } do
      if core.undo then pcall(core.undo, value or nil) end
      if core.claim then assert(not core.claim()) end
    end
    try(launch, { "--allow-net" })]], "launch: already launched" },
  { "the doors say that they want a dot", [[
    local caspian = require("caspian.net")
    try(caspian.launch, caspian, { "--allow-net" }) try(caspian.register, caspian, {}, {}) try(caspian.registrar, caspian)]],
    "bad argument #1 to 'launch' (call it with a dot: require(\"caspian.net\").launch{ … })\n"
    .. "bad argument #1 to 'register' (call it with a dot: require(\"caspian.net\").register(env, grants, opts))\n"
    .. "bad argument #1 to 'registrar' (call it with a dot: require(\"caspian.net\").registrar())" },
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
  { "requires says that it is wrong", [[try(launch, { "--allow-net", requires = { "a b" } })]], "bad argument #1 to 'launch' (requires: a b" },
  { "requires of register says that it is wrong",
    [[for _, wrong in ipairs{ { "a b" }, "a.example", false, { 5 }, { "https://a.example" }, { a = "b" } } do
      local _, err = pcall(register, {}, { "--allow-net" }, { requires = wrong })
      assert(tostring(err):find("bad argument #3 to 'register' (requires", 1, true), err)
    end
    try(register, {}, { "--allow-net", requires = { "" } })]], "bad argument #2 to 'register' (requires: \"\": the value is empty" },
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
    [[local env = {} register({}, { "--allow-net" }, { role = "library" }) register(env, { "--allow-net" })
    print(env["%net"] ~= nil)]], "true" },

  { "requires: what is missing",
    [[local _, missing = launch{ "--allow-net=a.example:443", requires = { "a.example:443", "b.example:443" } } flags(missing)]],
    "--allow-net=b.example:443" },
  { "requires: nothing is missing",
    [[local _, missing = launch{ "--allow-net", requires = { "a.example:443" } } print(#(missing or {}))]], "0" },
  { "requires: a bare host is every port of it",
    [[local _, missing = launch{ "--allow-net=a.example:443", "--allow-net=b.example", requires = { "a.example", "b.example" } }
    flags(missing)]], "--allow-net=a.example" },
  { "requires: what a grant takes",
    [[local _, missing = launch{ "--allow-net=**.a.example", "--allow-net=10.0.0.0/8:80+443",
      requires = { "*.x.a.example:443", "10.1.0.0/16:80", "10.0.0.0/8", "unix:/run/a" } }
    flags(missing)]], "--allow-net=10.0.0.0/8 --allow-net=unix:/run/a" },
  { "requires: any network",
    [[local _, missing = launch{ "--allow-net=a.example", requires = true } flags(missing)]], "--allow-net" },
  { "requires: any network is granted, but for what is denied",
    [[local _, missing = launch{ "--allow-net", "--deny-net=private", requires = true } print(#missing)]], "0" },
  { "requires: no grant at all",
    [[local net, missing = launch{ requires = { "a.example:443" } } print(net) flags(missing)]], "nil\n--allow-net=a.example:443" },
  { "requires with register",
    [[local env = {} local _, missing = register(env, { "--allow-net=a.example" }, { requires = { "b.example:80" } }) flags(missing)]],
    "--allow-net=b.example:80" },

  { "a flag with a slip", [[try(launch, { "--alow-net=a.example" })]], "(--alow-net=a.example: unknown flag; did you mean --allow-net?)" },
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
