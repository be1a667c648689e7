--- HTTP servers of a row: on a port of their choice, and closed behind it.

local net = require("spec.support.subject").net
local process = require("spec.support.process")
local wire = require("spec.support.wire")

local serving = {}

local opened = {}

--- Inside a `describe`: no row leaves a server, a socket or a process behind.
function serving.watch(before_each, after_each)
  after_each(function()
    for at = #opened, 1, -1 do
      opened[at]:close()
      opened[at] = nil
    end
  end)
  wire.watch(before_each, after_each)
end

--- Closes a server with the others.
function serving.keep(server)
  opened[#opened + 1] = server
  return server
end

--- A server, whose calls wait 10 s where `opts` does not say; answers its URL, and itself.
function serving.open(opts)
  opts = opts or {}
  opts.timeout = opts.timeout or 10
  local server = serving.keep(net.http.server("127.0.0.1", 0, opts))
  return (opts.tls and "https" or "http") .. "://127.0.0.1:" .. server.local_port, server
end

--- Runs curl beside the server: what it wrote is read by `rest`.
function serving.curl(arguments)
  return process.start("curl -s --max-time 10 " .. arguments)
end

--- A client in this process: the kernel holds what it sends until the server looks.
function serving.client(server, bytes)
  local client = net.tcp("127.0.0.1", server.local_port, { timeout = 10 })
  if bytes then client:send_all(bytes) end
  return client
end

--- The text of a request without a body; `more`: further lines, each with its CRLF.
function serving.get(path, more)
  return "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n" .. (more or "") .. "\r\n"
end

--- Lets the server work, and answers `ok` to what comes, until `is_done()`.
function serving.turn(server, is_done)
  local ended = os.time() + 15
  while not is_done() do
    assert(os.time() < ended, "too late")
    local ok, request = pcall(server.accept, server, { timeout = 0.02 })
    if ok and request then request:respond(200, nil, "ok") end
  end
end

--- Runs a shell command beside a server until it ends, at most `seconds` (60): what it wrote, and errors. `handler` answers what comes.
function serving.beside(server, command, handler, seconds)
  local path = os.tmpname()
  local words = ("PATH=$PATH:/usr/sbin; (%s) >%s 2>&1; mv %s %s.done"):format(command, path, path, path)
  local running = process.start("sh -c " .. process.quote(words))
  local ended = os.time() + (seconds or 60)
  local done
  while not done do
    assert(os.time() < ended, "too late: " .. command)
    local ok, request = pcall(server.accept, server, { timeout = 0.05 })
    if ok and request then
      local answer = handler(request)
      if answer then request:respond(answer) end
    end
    done = io.open(path .. ".done", "rb")
  end
  local text = done:read("*a")
  done:close()
  running:rest()
  os.remove(path .. ".done")
  return text
end

--- The head of an answer, as its lines.
function serving.head(client)
  local lines = {}
  for line in client:lines() do
    line = line:gsub("\r?\n$", "")
    if line == "" then break end
    lines[#lines + 1] = line
  end
  return lines
end

return serving
