-- Contract 9: a server and the clients of others: curl, Python, h2load, wrk, slowhttptest, OpenSSL.

local process = require("spec.support.process")
local servers = require("spec.support.servers")
local serving = require("spec.support.serving")

local directory = os.getenv("CASPIAN_SERVERS"):match("^(.*)/")

--- The Python that has a module, as spec/support/servers finds it.
local function python(module, script)
  local path = process.file(script)
  return ([[for python in python3 /usr/bin/python3; do if "$python" -c "import %s" 2>/dev/null; then "$python" %s; break; fi; done; rm %s]]):format(
    module, path, path)
end

--- What the rows' servers do.
local function handler(request)
  if request.path == "/echo" then
    return { body = request:read() or "", headers = { ["X-Length"] = tostring(request.content_length), ["X-Method"] = request.method } }
  elseif request.path == "/json" then
    return { body_json = request:json() }
  elseif request.path == "/form" then
    local file = request.params.file
    return { body = ("%s %s %s"):format(request.params.name, file and file.filename, file and file:text()) }
  elseif request.path == "/cookie" then
    return { headers = { ["Set-Cookie"] = { "a=1", "b=2; Path=/" } }, body = (request.cookies.a or "-") .. (request.cookies.b or "-") }
  elseif request.path == "/stream" then
    local left = 3
    return { body = function()
      left = left - 1
      return left >= 0 and ("piece %d\n"):format(left) or nil
    end }
  elseif request.path == "/redirect" then
    return { status = 302, headers = { Location = "/hello" } }
  end
  return { body = "Hello, world\n" }
end

-- They are the same for all Luas, and take their time.
if _VERSION ~= "Lua 5.4" then return end

describe("http server and the client of others:", function()
  local server, url
  serving.watch(before_each, after_each)

  local function open(opts)
    url, server = serving.open(opts)
  end

  local function beside(command, seconds)
    return serving.beside(server, command, handler, seconds)
  end

  it("curl, many at once, up and down", function()
    open{ spill = directory }
    local urls = {}
    for at = 1, 40 do urls[at] = url .. "/" .. at end
    assert.equal(("Hello, world\n"):rep(40), beside("curl -s --no-progress-meter --parallel --parallel-max 20 " .. table.concat(urls, " ")))
    local path = process.file(("0123456789"):rep(300000))
    assert.equal("3000000 3000000", beside(("curl -s -T %s -w '%%{size_upload} %%{size_download}' -o /dev/null %s/echo"):format(path, url)))
    assert.equal("3000000", beside(("curl -s -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' -T - -w '%%{size_download}' -o /dev/null %s/echo <%s")
      :format(url, path)))
    os.remove(path)
    assert.equal("piece 2\npiece 1\npiece 0\n", beside("curl -sN " .. url .. "/stream"))
    assert.equal("Hello, world\n", beside("curl -sL " .. url .. "/redirect"))
    assert.equal("--12", beside(("curl -s -c %s.jar %s/cookie && curl -s -b %s.jar %s/cookie; rm %s.jar"):format(path, url, path, url, path)))
    assert.equal("", beside("curl -s --http2 -o /dev/null " .. url))
  end)

  it("Python's http.client and requests", function()
    open{ spill = directory }
    assert.equal("ok\n", beside(python("http.client", ([[
import http.client
c = http.client.HTTPConnection("127.0.0.1", %d, timeout=20)
for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
    c.request(method, "/echo", body=b"x" * 10 if method != "GET" else None)
    r = c.getresponse()
    assert r.status == 200 and r.headers["X-Method"] == method, (method, r.status)
    assert r.read() == (b"x" * 10 if method != "GET" else b"")
c.request("HEAD", "/hello")
r = c.getresponse()
assert r.headers["Content-Length"] == "13" and r.read() == b""
c.request("POST", "/echo", body=(b"piece" for _ in range(1000)), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
r = c.getresponse()
assert r.read() == b"piece" * 1000
# Until the end: HTTP/1.0.
import socket
s = socket.create_connection(("127.0.0.1", %d))
s.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
got = b""
while True:
    piece = s.recv(4096)
    if not piece: break
    got += piece
assert got.endswith(b"\r\n\r\npiece 2\npiece 1\npiece 0\n"), got
print("ok")
]]):format(server.local_port, server.local_port))))
    assert.equal("ok\n", beside(python("requests", ([[
import requests
url = "%s"
with requests.Session() as s:
    assert s.get(url + "/hello", timeout=20).text == "Hello, world\n"
    assert s.post(url + "/json", json={"a": [1, 2, {"b": None}]}, timeout=20).json() == {"a": [1, 2, {"b": None}]}
    r = s.post(url + "/form", data={"name": "value"}, files={"file": ("n\u00e4me \"q\".txt", b"content\r\n--x")}, timeout=20)
    assert r.text.startswith("value ") and r.text.endswith(" content\r\n--x"), r.text
    assert s.get(url + "/cookie", timeout=20).text == "--"
    assert s.get(url + "/cookie", timeout=20).text == "12"
    assert s.get(url + "/redirect", timeout=20).url == url + "/hello"
    assert s.post(url + "/echo", data=iter([b"a", b"b"]), timeout=20).text == "ab"
    assert [l for l in s.get(url + "/stream", stream=True, timeout=20).iter_lines()] == [b"piece 2", b"piece 1", b"piece 0"]
    for _ in range(200):
        assert s.get(url + "/hello", timeout=20).status_code == 200
print("ok")
]]):format(url))))
  end)

  it("h2load and wrk", function()
    open()
    local text = beside(("h2load --h1 -n 2000 -c 20 -m 1 %s/hello"):format(url))
    assert.truthy(text:find("2000 succeeded, 0 failed, 0 errored, 0 timeout", 1, true), text)
    -- Four at a time on each connection: pipelined.
    text = beside(("h2load --h1 -n 2000 -c 10 -m 4 %s/hello"):format(url))
    assert.truthy(text:find("2000 succeeded, 0 failed, 0 errored, 0 timeout", 1, true), text)
    text = beside(("wrk -t1 -c32 -d1s %s/hello"):format(url))
    assert.truthy(text:find("%d+ requests in"), text)
    assert.falsy(text:find("Non-2xx", 1, true), text)
    assert.falsy(text:find("Socket errors", 1, true), text)
  end)

  it("slowhttptest, and a good client beside it is served", function()
    for _, how in ipairs{ "-H -i 1", "-B -i 1 -s 8192", "-X -w 1 -y 10 -n 1 -z 5 -k 3" } do
      open{ head_timeout = 2, body_grace = 2, send_grace = 2 }
      local text = beside(("slowhttptest -c 150 %s -r 150 -l 3 -u %s/hello >/dev/null & curl -s --retry 3 --max-time 20 %s %s; wait")
        :format(how, url, ("-o /dev/null -w 'served ' " .. url .. "/hello "):rep(20), "-o /dev/null"))
      assert.truthy(select(2, text:gsub("served", "")) >= 20, text)
      serving.turn(server, function() return server.connections == 0 end)
      server:close()
    end
  end)

  it("OpenSSL's s_client, which comes back with its session", function()
    open{ tls = { cert = servers.server.cert, key = servers.server.key } }
    local text = beside(("printf 'GET /hello HTTP/1.0\\r\\n\\r\\n' | openssl s_client -tls1_2 -reconnect -connect 127.0.0.1:%d -CAfile %s 2>&1; true")
      :format(server.local_port, servers.ca))
    assert.truthy(select(2, text:gsub("Reused, TLSv1.2", "")) >= 5, text)
    text = beside(("(printf 'GET /hello HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | "
      .. "openssl s_client -quiet -tls1_3 -servername localhost -connect 127.0.0.1:%d -CAfile %s 2>/dev/null"):format(server.local_port, servers.ca))
    assert.truthy(text:find("\r\n\r\nHello, world\n$"), text)
  end)
end)
