--- TLS connections as socket objects for `socket.http`, `socket.smtp` and others; `ssl.https.tcp` makes them.
--
-- The peer's certificate must be valid for the requested host, up to a trusted root. Only an explicit `verify = "none"`
-- turns this off.
local message = require("caspian.net.compat.message")
local next, setfenv, setmetatable, type = next, setfenv, setmetatable, type
local _ENV = {} -- luacheck: ignore
if setfenv then setfenv(1, _ENV) end -- luacheck: ignore

--- The parameters of LuaSec; the rest of a request's table is none of its business.
local PARAMETERS = {
  "protocol", "key", "certificate", "password", "certificates", "cafile", "capath", "ciphers", "ciphersuites", "verify",
  "options", "depth", "dhparam", "curve", "curveslist", "verifyext", "alpn", "psk", "dane",
}

--- Puts the parameters among `given` into `params`, and nothing else: a request's table may lead back to what keeps them.
local function pick(params, given)
  for _, name in next, PARAMETERS do
    if given[name] ~= nil and given[name] ~= false then params[name] = given[name] end
  end
  return params
end

--- The parameters of a client: `given`, and what is safe where nothing was said.
local function client(given)
  return pick({
    mode = "client", protocol = "any", verify = "peer",
    options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1" },
  }, given)
end

return function(import)
  local M = {}
  -- Connections made here, so that http can tell them and knows whose clock they go by.
  local known = import("caspian.known")

  --- Asks the proxy that `c` is connected to for a tunnel: RFC 9110, 9.3.6.
  local function tunnel(c, to, wait)
    local place = message.place(to.host, to.port)
    local fields, err = message.lines({ host = place, ["proxy-authorization"] = to.authorization }, import("socket.headers").canonic)
    if not fields then return nil, err end
    if not message.target(place) then return nil, "invalid host" end
    local ready, late = wait()
    if not ready then return nil, late end
    local sent
    sent, err = c:send("CONNECT " .. place .. " HTTP/1.1\r\n" .. fields .. "\r\n")
    if not sent then return nil, err end
    local budget = message.budget()
    local code, status
    repeat
      code, status = message.status(c, budget, wait)
      if not code then return nil, status end
      local headers
      headers, err = message.fields(c, budget, wait)
      if not headers then return nil, err end
    until code >= 200 -- the budget ends a stream of 1xx
    if code >= 300 then return nil, "the proxy refused: " .. status end
    -- Bytes that came before the handshake are not from the host.
    if c.dirty and c:dirty() then return nil, "the proxy sent more than its answer" end
    return 1
  end

  --- Turns the connected `sock` into a TLS connection to `host`, handshake done; nil and an error, `sock` closed.
  function M.wrap(sock, host, params, wait)
    local conn, err = import("ssl").wrap(sock, client(params))
    if not conn then
      sock:close()
      return nil, err
    end
    -- The name goes to the server, and is what the certificate must be for.
    local named
    named, err = conn:sni(host)
    if named == nil and err or named == false then
      conn:close()
      return nil, err or "invalid host"
    end
    local ready, late = wait(conn)
    if not ready then
      conn:close()
      return nil, late
    end
    local done
    done, err = conn:dohandshake()
    if not done then
      conn:close()
      return nil, err
    end
    return conn
  end

  local forward = {
    __index = function(self, name)
      local method = self.sock[name]
      if type(method) ~= "function" then return method end
      return function(_, ...) return method(self.sock, ...) end
    end,
  }

  --- A `create` for `socket.http` and others: makes connections that speak TLS once they are connected.
  -- @param params LuaSec's; other fields are left alone
  -- @param through the `create` of the socket beneath (`socket.tcp`)
  -- @param to the host to be reached, where `connect` is given a proxy's: { host, port, authorization }
  function M.factory(params, through, to)
    local function create()
      local sock, why = (through or import("socket").tcp)()
      if not sock then return nil, why end
      local conn = setmetatable({ sock = sock }, forward)
      known.connections[conn] = true

      function conn:settimeout(...) return self.sock:settimeout(...) end

      function conn:close() return self.sock:close() end

      function conn:connect(host, port)
        local now, limit = import("caspian.now"), M.limit(self)
        -- TCP, the tunnel and the handshake have one deadline.
        local wait = message.patience({ settimeout = function(_, left) self.sock:settimeout(left) end }, limit, now)
        self.sock:settimeout(limit)
        local done, err = self.sock:connect(host, port)
        if done and to then done, err = tunnel(self.sock, to, wait) end
        if not done then
          self.sock:close()
          return nil, err
        end
        local secured
        secured, err = M.wrap(self.sock, to and to.host or host, params, function(secure)
          self.sock = secure
          secure:settimeout(limit)
          return wait()
        end)
        if not secured then return nil, err end
        self.sock = secured
        secured:settimeout(limit)
        return 1
      end
      return conn
    end
    known.factories[create] = pick({}, params)
    return create
  end

  --- Seconds that a connection made here waits; nil for any other.
  function M.limit(conn)
    return known.connections[conn] and import("ssl.https").TIMEOUT or nil
  end

  --- The parameters of a factory made here; nil for any other function.
  function M.parameters(create)
    return known.factories[create]
  end

  return M
end
