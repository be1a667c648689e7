--- One value of each type that a script can come by, and what it can call on them.

local dropin = require("spec.support.rows")
local net = require("spec.support.subject").net
local servers = require("spec.support.servers")

local zoo = {}

local HTTP = "http://127.0.0.1:" .. servers.http
local HERE = { "--allow-net=127.0.0.1", "--allow-listen=127.0.0.1:0" }

--- Clients of mail and files, to servers that take what they are told: each user of IMAP and POP3 is a new one, and that of FTP may only read.
local users = 0
local function mail(mine, values)
  users = users + 1
  local name, files = "zoo" .. users, servers.mail_files
  local function opts(port, user)
    return { host = "127.0.0.1", port = port, timeout = 5, tls = false, user = user, password = user and "s3cret", insecure_auth = user and true }
  end
  values.smtp = assert(mine.smtp(opts(files.mail)))
  values.imap = assert(mine.imap(opts(servers.dovecot.imap, name)))
  values.pop3 = assert(mine.pop3(opts(servers.dovecot.pop3, name)))
  values.ftp = assert(mine.ftp(opts(files.ftp, "ftp")))
end

--- The values by name; the second result ends them.
function zoo.open()
  local mine = net.narrow(HERE)
  local listener = mine.tcp_listen("127.0.0.1", 0, { timeout = 5 })
  local tcp = mine.tcp("127.0.0.1", listener.local_port, { timeout = 5 })
  local client = mine.http.client.new{ har = true, timeout = 5 }
  local response = client:get(HTTP .. "/hello")
  local _, err = pcall(mine.tcp, "127.0.0.2", 1)
  local request
  local guard = mine.http.guard{
    rules = { host = "127.0.0.1", https_only = false, ports = servers.http }, allow_private = true,
    middleware = function(ctx, next) request = ctx.req return next() end,
  }
  local guarded = guard.fetch(HTTP .. "/hello")
  local server = mine.http.server("127.0.0.1", 0, { timeout = 5 })
  --- A request of the server's own, which the kernel holds until it looks.
  local function asked(more, body)
    local other = mine.tcp("127.0.0.1", server.local_port, { timeout = 5 })
    other:send_all("POST / HTTP/1.1\r\nHost: a\r\n" .. more .. "Content-Length: " .. #body .. "\r\n\r\n" .. body)
    return server:accept()
  end
  local served = asked("Content-Type: multipart/form-data; boundary=X\r\n", "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--X--\r\n")
  local app = mine.http.sammy()
  local values = {
    server = server, served = served, part = served:parts()[1], event_stream = asked("", ""):events(), sammy = app,
    net = mine, http = mine.http, ["http.client"] = mine.http.client, client = client, jar = mine.http.jar(),
    jail = client:jail("127.0.0.1"), response = response, stream = client:get(HTTP .. "/hello", { stream = true }),
    tcp = tcp, accepted = listener:accept(), listener = listener, udp = mine.udp(),
    ssl = mine.ssl("127.0.0.1", servers.https, { verify = false }),
    events = mine.events(HTTP .. "/events", { reconnect = false, timeout = 5 }),
    websocket = mine.websocket("ws://127.0.0.1:" .. servers.websocket.ws .. "/echo"),
    guard = guard, guarded = guarded, raw = request.raw, error = err,
  }
  mail(mine, values)
  return values, function() mine.revoke() end
end

--- Methods, by the type that has them.
zoo.METHODS = {
  tcp = { "send", "send_all", "recv", "recv_line", "recv_exact", "lines", "close", "shutdown", "starttls" },
  ssl = { "send", "send_all", "recv", "recv_line", "recv_exact", "lines", "close", "shutdown", "peer_cert", "cipher",
    "protocol", "alpn" },
  udp = { "send", "send_to", "recv", "recv_from", "close", "join", "leave" },
  listener = { "accept", "close" },
  websocket = { "send", "recv", "messages", "ping", "close" },
  client = { "fetch", "get", "head", "delete", "options", "post", "put", "patch", "jail", "close", "events", "fetch_all", "har" },
  events = { "next", "each", "close" },
  jar = { "records", "load", "set", "header", "clear" },
  error = { "is" },
  smtp = { "send", "send_raw", "verify", "close" },
  imap = { "list", "select", "examine", "unselect", "status", "namespace", "create", "delete", "subscribe", "unsubscribe", "rename", "search",
    "fetch", "store", "copy", "move", "append", "expunge", "idle", "noop", "logout", "close" },
  pop3 = { "stat", "list", "uidl", "retr", "top", "dele", "rset", "noop", "quit", "close" },
  ftp = { "list", "get", "put", "append", "size", "mtime", "rename", "delete", "mkdir", "rmdir", "cwd", "pwd", "quit", "close" },
}

--- Functions that belong to one value and may be called with a dot: a wrong self is a wrong first argument of theirs.
zoo.FUNCTIONS = {
  net = { "tcp", "ssl", "tls", "udp", "tcp_listen", "listen", "udp_listen", "unix", "unix_listen", "poll", "narrow", "allows",
    "fetch", "fetch_all", "events", "websocket", "resolve", "reverse_resolve", "class", "array" },
  http = { "guard" },
  ["http.client"] = { "new", "jail" },
  jail = { "fetch" },
  guard = { "fetch" },
}

zoo.ARGUMENTS = {
  send = { "x" }, send_all = { "x" }, recv_exact = { 1 }, shutdown = { "both" }, send_to = { "x", "127.0.0.1", 9 },
  join = { "224.0.0.251" }, leave = { "224.0.0.251" }, fetch = { HTTP }, get = { HTTP }, head = { HTTP }, delete = { HTTP },
  options = { HTTP }, post = { HTTP }, put = { HTTP }, patch = { HTTP }, jail = { "127.0.0.1" }, events = { HTTP .. "/events" },
  fetch_all = { { HTTP } }, load = { {} }, is = { "network" }, set = { HTTP, "a=b" }, header = { HTTP },
  tcp = { "127.0.0.1", 9 }, ssl = { "127.0.0.1", 9 }, tls = { "127.0.0.1", 9 }, udp = { "127.0.0.1", 9 },
  tcp_listen = { "127.0.0.1", 0 }, listen = { "127.0.0.1", 0 }, udp_listen = { "127.0.0.1", 0 }, unix = { "/run/x" },
  unix_listen = { "/run/x" }, poll = { {}, 0 }, narrow = { {} }, allows = { "127.0.0.1", 9 }, websocket = { "ws://127.0.0.1:1/" },
  resolve = { "127.0.0.1" }, reverse_resolve = { "127.0.0.1" }, class = { "puck.uno/socket/tcp" }, array = { {} },
  guard = { { rules = { host = "127.0.0.1" } } }, new = { {} },
}

--- What else they are for the clients of mail and files.
local OWN = {
  smtp = { send = { { from = "a@spec.test", to = "b@spec.test" } }, send_raw = { "a@spec.test", "b@spec.test", "x" }, verify = { "x" } },
  imap = {
    select = { "INBOX" }, examine = { "INBOX" }, status = { "INBOX" }, create = { "x" }, delete = { "x" }, subscribe = { "x" },
    unsubscribe = { "x" }, rename = { "x", "y" }, fetch = { 1, "flags" }, store = { 1, "add", "x" }, copy = { 1, "x" }, move = { 1, "x" },
    append = { "x", "y" }, idle = { { timeout = 0 } },
  },
  pop3 = { retr = { 1 }, top = { 1, 1 }, dele = { 1 } },
  ftp = {
    get = { "x" }, put = { "x", "y" }, append = { "x", "y" }, size = { "x" }, mtime = { "x" }, rename = { "x", "y" }, delete = { "x" },
    mkdir = { "x" }, rmdir = { "x" }, cwd = { "x" },
  },
}

--- Good arguments for a method.
function zoo.arguments(name, method)
  if OWN[name] then return OWN[name][method] or {} end
  return zoo.ARGUMENTS[method] or {}
end

--- What is no self of anything here: seventeen values, those of `values` among them.
function zoo.others(values, value)
  return {
    {}, setmetatable({}, { __index = value }), setmetatable({}, { __index = function() return print end }),
    "string", 42, true, print, coroutine.create(function() end), io.stdout, net, values.response, values.tcp, values.udp,
    values.client, values.jar, values.guard, values.error, values.jail,
  }
end

--- One object of each class that the drop-in has, by name, with the table of its methods; the second result ends them.
function zoo.dropin()
  local mine = net.narrow(HERE)
  local import = dropin.install(mine)
  local socket, core, context = import("socket"), import("ssl.core"), import("ssl.context")
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  local values = {
    master = socket.tcp(), server = server, client = assert(socket.connect("127.0.0.1", port)), udp = socket.udp(),
    connected = assert(socket.udp()), accepted = server:accept(),
  }
  assert(values.connected:setpeername("127.0.0.1", 9))
  values.context = assert(context.create("any"))
  context.setmode(values.context, "client")
  values.connection = assert(core.create(values.context))
  values.certificate = assert(import("ssl.x509").load(require("spec.support.process").read(servers.ca)))
  for _, name in ipairs{ "master", "server", "client", "udp", "connected", "accepted", "connection" } do values[name]:settimeout(0) end
  local classes = {}
  for name, value in pairs(values) do classes[name] = getmetatable(value).__index end
  return values, classes, function() mine.revoke() end
end

return zoo
