--- `socket`, for programs that were written for LuaSocket 3: the functions around the native objects.
-- Results are the original's: a value, or `nil` and the reason; raised errors have the original's texts.
local add_dns = require("caspian.net.compat.dns")
local args = require("caspian.net.args")
local callables = require("caspian.net.compat.callables")
local error, getmetatable, ipairs, pcall, rawget, setfenv, setmetatable =
  error, getmetatable, ipairs, pcall, rawget, setfenv, setmetatable
local select, tonumber, tostring, type = select, tonumber, tostring, type
local floor, min = math.floor, math.min
local format, len = string.format, string.len
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

local bad = args.bad

--- More descriptors than a process may have: `select` is poll(2) here, so no number is too large for it.
local SETSIZE = 1048576

-- Errors --------------------------------------------------------------------------------------------------------------

--- `nil, words` of what the native half answered in place of a value. Raises in the words of Lua's own program where that says
-- that the host wants its thread back.
-- @param interrupted what the native half answers behind the error: true for that
local function told(err, interrupted)
  if interrupted == true then error("interrupted!", 0) end
  if type(err) == "table" then return nil, err.message end
  return nil, err
end

local function expected(index, name, kind, count, value)
  local given = index > count and "no value" or type(value)
  bad(index, name, kind .. " expected, got " .. given)
end

-- Exceptions ----------------------------------------------------------------------------------------------------------

--- Adds `newtry`, `try` and `protect`: errors that a `protect`ed function turns back into `nil, err`.
local function add_exceptions(M)
  -- What `try` raises, to tell it from other tables; nobody can make one himself.
  local raised = setmetatable({}, { __mode = "k" })
  local locked = { __metatable = false }

  function M.newtry(finalizer)
    return function(...)
      if (...) then return ... end
      if finalizer ~= nil then finalizer() end
      local exception = setmetatable({ (select(2, ...)) }, locked)
      raised[exception] = true
      error(exception, 0)
    end
  end

  local function finish(ok, ...)
    if ok then return ... end
    local err = ...
    if type(err) == "table" and raised[err] then return nil, rawget(err, 1) end
    error(err, 0)
  end

  function M.protect(f)
    return function(...)
      return finish(pcall(f, ...))
    end
  end

  M.try = M.newtry()
end

-- Sources and sinks ---------------------------------------------------------------------------------------------------

local function add_streams(M)
  M.BLOCKSIZE, M.choose = 2048, callables.choose
  local selectable = callables.selectable

  local sinks, sources = {}, {}
  M.sinkt, M.sourcet = sinks, sources

  sinks["close-when-done"] = function(sock)
    return selectable(sock, function(_, chunk)
      if chunk then return sock:send(chunk) end
      sock:close()
      return 1
    end)
  end

  sinks["keep-open"] = function(sock)
    return selectable(sock, function(_, chunk)
      if chunk then return sock:send(chunk) end
      return 1
    end)
  end
  sinks.default = sinks["keep-open"]

  sources["by-length"] = function(sock, length)
    return selectable(sock, function()
      if length <= 0 then return nil end
      local chunk, err = sock:receive(min(M.BLOCKSIZE, length))
      if err then return nil, err end
      length = length - len(chunk)
      return chunk
    end)
  end

  sources["until-closed"] = function(sock)
    local done = false
    return selectable(sock, function()
      if done then return nil end
      local chunk, err, partial = sock:receive(M.BLOCKSIZE)
      if not err then return chunk end
      if err ~= "closed" then return nil, err end
      done = true
      sock:close()
      return partial
    end)
  end
  sources.default = sources["until-closed"]

  M.sink, M.source = M.choose(sinks), M.choose(sources)
end

-- select --------------------------------------------------------------------------------------------------------------

local function descriptor(object)
  local getfd = object.getfd
  local fd = getfd ~= nil and tonumber((getfd(object)))
  return fd and fd >= 0 and floor(fd) or nil
end

--- The descriptors of a list, and the object that each leads to. `ready`: where dirty objects go, if they are asked.
local function collect(index, list, ready)
  local numbers, objects, count = {}, {}, 0
  if list == nil then return numbers, objects end
  local i = 1
  local object = list[1]
  while object ~= nil do
    local fd = descriptor(object)
    if fd then
      if fd >= SETSIZE then bad(index, "select", "descriptor too large for set size") end
      local dirty = ready and object.dirty
      if dirty and dirty(object) then
        ready[#ready + 1] = object
      elseif objects[fd] == nil then
        count = count + 1
        numbers[count] = fd
      end
      objects[fd] = object
    end
    i = i + 1
    object = list[i]
  end
  return numbers, objects
end

--- Appends the objects behind the numbers, and turns the list into a map from object to place too.
local function answer(list, numbers, objects)
  for i = 1, #numbers do list[#list + 1] = objects[numbers[i]] end
  for i = 1, #list do list[list[i]] = i + 0.0 end
  return list
end

local function add_select(M, native)
  M._SETSIZE, M._SOCKETINVALID = SETSIZE, -1

  local function finish(dirty, read_objects, write_objects, readers, writers, interrupted)
    if readers == nil then
      told(writers, interrupted)
      args.raise("select failed")
    end
    local nothing = #dirty == 0 and #readers == 0 and #writers == 0
    local readable, writable = answer(dirty, readers, read_objects), answer({}, writers, write_objects)
    if nothing then return readable, writable, "timeout" end
    return readable, writable
  end

  --- Waits until one of the sockets can be read or written.
  function M.select(...)
    local readers, writers, timeout = ...
    local count = select("#", ...)
    local limit = timeout == nil and -1 or tonumber(timeout)
    if not limit then expected(3, "select", "number", count, timeout) end
    if readers ~= nil and type(readers) ~= "table" then expected(1, "select", "table", count, readers) end
    if writers ~= nil and type(writers) ~= "table" then expected(2, "select", "table", count, writers) end
    local dirty = {}
    local reads, read_objects = collect(1, readers, dirty)
    local writes, write_objects = collect(2, writers)
    if dirty[1] ~= nil then limit = 0 end
    return finish(dirty, read_objects, write_objects, native.poll(reads, writes, limit))
  end
end

-- Connections ---------------------------------------------------------------------------------------------------------

local FAMILIES = { unspec = "tcp", inet = "tcp4", inet6 = "tcp6" }

local function add_connections(M, native)
  for _, name in ipairs{ "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6" } do
    M[name] = native[name]
  end

  --- Closes the socket of a call that failed.
  local function failed(sock, err)
    sock:close()
    return nil, err
  end

  --- A connection to address and port, from a local address and port if they are named, of one family if it is.
  function M.connect(...)
    local address, port, laddress, lport, family = ...
    local count = select("#", ...)
    if type(address) ~= "string" and type(address) ~= "number" then expected(1, "connect", "string", count, address) end
    if type(port) ~= "string" and type(port) ~= "number" then expected(2, "connect", "string", count, port) end
    if family ~= nil and not FAMILIES[family] then
      bad(5, "connect", format("invalid option '%s'", tostring(family)))
    end
    local sock, err = native[FAMILIES[family or "unspec"]]()
    if not sock then return nil, err end
    local methods = getmetatable(sock).__index
    local done
    if laddress ~= nil then
      done, err = methods.bind(sock, laddress, lport or 0)
      if not done then return failed(sock, err) end
    end
    done, err = methods.connect(sock, address, port)
    if not done then return failed(sock, err) end
    return sock
  end

  function M.connect4(address, port, laddress, lport)
    return M.connect(address, port, laddress, lport, "inet")
  end

  function M.connect6(address, port, laddress, lport)
    return M.connect(address, port, laddress, lport, "inet6")
  end

  --- A server on an address and a port: the first address of a name that can be bound.
  function M.bind(host, port, backlog)
    if host == "*" then host = "0.0.0.0" end
    local addresses, err = M.dns.getaddrinfo(host)
    if not addresses then return nil, err end
    err = "no info on address"
    for _, one in ipairs(addresses) do
      local sock, done
      sock, err = (one.family == "inet" and M.tcp4 or M.tcp6)()
      if not sock then return nil, err end
      sock:setoption("reuseaddr", true)
      done, err = sock:bind(one.addr, port)
      if done then done, err = sock:listen(backlog) end
      if done then return sock end
      sock:close()
    end
    return nil, err
  end
end

-- The module ----------------------------------------------------------------------------------------------------------

--- Makes the module around the native half of one installation.
return function(native)
  local M = { _VERSION = "LuaSocket 3.1.0", _DATAGRAMSIZE = 8192 }
  add_exceptions(M)
  add_streams(M)
  add_select(M, native)
  add_connections(M, native)
  add_dns(M, native, told, expected)

  function M.skip(count, ...)
    return select(count + 1, ...)
  end

  --- The time of day, in seconds since 1970.
  M.gettime = native.gettime

  --- Sleeps that many seconds; answers nothing.
  function M.sleep(...)
    local seconds = tonumber((...))
    if not seconds then expected(1, "sleep", "number", select("#", ...), (...)) end
    local _, err, interrupted = native.sleep(seconds)
    if err then told(err, interrupted) end
  end

  function M.__unload() end

  return M
end
