-- Each function with a dot and with a colon, and results as programs use them. Checked by the step `types`, never run.

local function both()
  local response = net.fetch("https://example.com/", { timeout = 5 })
  print(response.status + 1, response.headers["content-type"], response:json().x, response.json().x, (response:read(10)), (response.read(10)))
  for _, cookie in ipairs(response.headers["set-cookie"] or {}) do print(cookie:upper()) end
  print(net:fetch("https://example.com/", { timeout = 5 }).status + 1)
  for _, one in ipairs(net.fetch_all({ "https://example.com/", { "https://example.com/", method = "HEAD" } }, { parallel = 2 })) do print(one.url) end
  for _, one in ipairs(net:fetch_all({ "https://example.com/" }, { timeout = 2 })) do print(one.url) end

  print(net.http.client.get("https://example.com/").status + 1, net.http.client:get("https://example.com/").status + 1)
  print(#net.http.client.fetch_all{ "https://example.com/" }, #net.http.client:fetch_all{ "https://example.com/" })
  local client <close> = net.http.client.new{ cookies = true, retry = 3 }
  print(client:post("https://example.com/", "text", { timeout = 1 }).ok, client:post("https://example.com/", { body_json = { 1 } }).ok)
  print(net.http.client:new{ cookies = net.http.jar() }:get("https://example.com/").status, net.http:jar():header("https://example.com/"))

  print(net.tcp("example.com", 80):recv_line(), net:tcp("example.com", tonumber("80") or 80):recv_line())
  local ssl = net.ssl("example.com", 443, { alpn = { "h2" } })
  local certificate = ssl:peer_cert()
  if certificate then print(certificate.valid_until:upper()) end
  print(ssl:protocol(), net:ssl("example.com", 443):cipher(), net.tls("example.com", 443):alpn(), net:tls("example.com", 443):group())
  print(net.udp():send_to("x", "127.0.0.1", 1) + 1, net:udp("127.0.0.1", 1):send("x") + 1)
  print(net.tcp_listen("127.0.0.1", 0):accept():recv(10), net:listen("127.0.0.1", 0).local_port + 1, net.udp_listen("127.0.0.1", 0).local_port + 1)
  print(net.unix("/run/x"):recv(), net:unix("/run/x"):recv(), net.unix_listen("/run/x"):accept(), net:unix_listen("/run/x"):accept())
  local sockets = { net.tcp("example.com", 80) }
  print(net.poll(sockets, 1)[1]:recv_line(), net.poll({ read = sockets }, 1)[1]:recv_line(), #net:poll(sockets, 1))

  print(net.resolve("example.com", "mx")[1], net:resolve("example.com")[1], net.reverse_resolve("192.0.2.1"), net:reverse_resolve("192.0.2.1"))
  print(net.websocket("wss://example.com/"):recv(), net:websocket("wss://example.com/"):recv())
  for event in net.events("https://example.com/"):each() do print(event.data:upper()) end
  print(net:events("https://example.com/"):next())

  print(net.narrow{ "example.com" }.allows("example.com", 443), net:narrow{ allow_net = { "example.com" } }:allows("example.com", 443))
  print(net.grants()[1]:upper(), net:grants()[1]:upper(), net.kind(1), net:kind(1), net.errors.timeout, net.class("puck.uno/http/client").new{})
  print(net.within(1, print, 2), net:within(1, print, 2), net.sleep(0), net:sleep(0), net.array{ 1 }[1], net:array{ 1 }[1])
  net.revoke() net:revoke()

  print(net.smtp{ host = "x" }, net:smtp{ host = "x" }, net.imap{ host = "x" }, net:imap{ host = "x" })
  print(net.pop3{ host = "x" }, net:pop3{ host = "x" }, net.ftp{ host = "x" }, net:ftp{ host = "x" })
  local imap = assert(net.imap{ host = "x", user = "ann", password = "secret" })
  print(imap:status("INBOX"), imap:idle{ timeout = 1 })

  print(net.url.parse("https://example.com/").host, net.url:parse("https://example.com/").path:upper(), net.url.parse("x:y").pairs[1])
  print(net.json.encode{ 1 }:upper(), net.json:encode{ 1 }:upper(), net.json.decode("1") + 1, net.json:decode("1") + 1)
  print(net.base64.encode("x"):upper(), net.base64:decode("eA=="):upper(), net.hash.sha256("x"):upper(), net.hash:sha256("x", "bytes"):upper())
  print(net.hash.equal("a", "b"), net.hash:random(4):upper(), net.mail.parse("").from[1], net.mail:parse("").subject)
end

local function serving()
  local server = net.http.server("127.0.0.1", 8080, { log = io.stderr, on_refused = print })
  local request = server:accept{ timeout = 1 }
  if request then
    print(request.path:upper(), request.headers.host, request:text():upper(), request.text():upper(), request:json().x, request.json().x)
    request:respond(200, { ["Content-Type"] = "text/plain" }, "hello")
    request.respond{ status = 200, body_json = {} }
    request:events():send{ data = "x" }
    request:websocket():send("x")
  end
  net.http:server("127.0.0.1", 8080):run(function(asked) return { body = asked.method } end)
  local app = net.http.sammy{ domain = "example.com" }
  app:get("/{name}", function(asked, transaction)
    transaction.session.name = asked.steps.name
    return app.response.text(200, "hello")
  end)
  app:run("127.0.0.1", 8080)
  local guard, close = net.http.guard{ rules = { host = "example.com" } }
  print(guard.fetch("https://example.com/").body:upper())
  close()
end

local function hosted()
  local caspian = require("caspian.net")
  local granted, missing = caspian.launch{ "--allow-net=example.com", requires = { "example.com:443" } }
  print(granted and granted.fetch("https://example.com/").status, missing[1])
  local ok, err = pcall(net.fetch, "https://example.com/")
  if not ok and net.kind(err) == "error" then print(err.class, err:is("timeout"), err .. "") end
  print(require("caspian.net.codec").hash.sha256("x"):upper())
end

return both, serving, hosted
