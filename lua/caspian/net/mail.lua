--- The clients of mail and files: `net.smtp`, `net.imap`, `net.pop3`, `net.ftp`, and their classes. Each is compiled when it is first used.
local args = require("caspian.net.args")
local next, setfenv = next, setfenv
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- By the name of the function: the module, and whether it needs the core's half of mail.
local PROTOCOLS = {
  ftp = { "caspian.net.ftp", false },
  imap = { "caspian.net.mail.imap", true },
  pop3 = { "caspian.net.mail.pop3", true },
  smtp = { "caspian.net.mail.smtp", true },
}

--- Adds the functions to a `%net` around `cap`, and the classes.
-- @param front finds the front's modules
local function extend(core, cap, front, net, functions, classes)
  --- What a client is opened through. Nothing on the client leads back to it.
  local door
  local function open(name, word, given)
    local module, native = PROTOCOLS[name][1], PROTOCOLS[name][2]
    if native and not core.sasl_scram then
      args.raise(name .. ": built without mail (the Cargo feature `mail`, which `full` turns on and `small` does not)")
    end
    door = door or { core = core, cap = cap, attempt = front("caspian.net.within").attempts(core) }
    return front(module).open(door, word, given)
  end
  for name in next, PROTOCOLS do
    --- Opens a client: the object, or nil and a refusal ({ code, text }) where the server refuses.
    functions[name] = function(...)
      return open(name, name, (args.own(net, ...)))
    end
    classes["puck.uno/" .. name .. "/client"] = function(class)
      return function(...)
        return open(name, "new", (args.own(class, ...)))
      end
    end
  end
end

return { extend = extend }
