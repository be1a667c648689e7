-- Contract 11: helpers without authority, on every net and without one.

local child = require("spec.support.child")
local net = require("spec.support.subject").net
local codec = require("caspian.net.codec")
local servers = require("spec.support.servers")

local unpack = rawget(_G, "unpack") or table.unpack
local ECHO = "http://127.0.0.1:" .. servers.http .. "/echo"

local url, json, base64, hash = net.url, net.json, net.base64, net.hash

--- What a call raises, without its position.
local function raised(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, "nothing was raised")
  assert.equal("string", type(err))
  return (err:gsub("^[^:]+:%d+: ", ""))
end

describe("helpers", function()
  it("are on every net, on narrowed ones and without one, and cannot be changed", function()
    for _, owner in ipairs{ net, net.narrow{ "127.0.0.1:1" }, codec } do
      assert.equal("a%20b", owner.url.encode("a b"))
      assert.equal("a%20b", owner.url:encode("a b"))
      assert.equal("[1]", owner.json.encode{ 1 })
      assert.equal("YQ==", owner.base64.encode("a"))
      assert.equal("0cc175b9c0f1b6a831c399e269772661", owner.hash.md5("a"))
      for _, name in ipairs{ "url", "json", "base64", "hash" } do
        assert.matches("cannot be changed", raised(function() owner[name].encode = print end))
        assert.equal("codec." .. name, tostring(owner[name]))
        assert.is_false(getmetatable(owner[name]))
      end
    end
    assert.equal(net.null, codec.json.null)
    local names = {}
    for name in pairs(codec) do names[#names + 1] = name end
    table.sort(names)
    assert.equal("base64 hash json mail url", table.concat(names, " "))
    assert.equal("codec.hash", net.kind(net.hash))
  end)

  it("work before a network is launched, and what they made is known to it", function()
    assert.equal('[]\t{"b":1,"a":[]}\tarray\thash\tarray\tarray\tarray\tnil\nnil', child.run[[
      local codec = require("caspian.net.codec")
      local made = codec.json.decode('{"b":1,"a":[]}')
      local list = codec.json.array{}
      local net = launch{ "--allow-net=127.0.0.1:1" }
      print(codec.json.encode(list), net.json.encode(made), net.kind(list), net.kind(made), net.kind(made.a),
        net.kind(codec.json.decode("[]")), net.kind(codec.json.array{}), net.kind({}))
      print(package.loaded["caspian.net.pure"])]])
    assert.equal("900150983cd24fb0d6963f7d28e17f72", child.run[[
      assert(launch{} == nil)
      print(require("caspian.net.codec").hash.md5("abc"))]])
  end)
end)

describe("url", function()
  it("parses", function()
    local parts = url.parse("https://u:p%40@EXAMPLE.com/a%20b/?q=1&q=a+b%26&x#top")
    assert.same({ "https", "u:p%40", "example.com", 443, "/a%20b/", "q=1&q=a+b%26&x", "top" },
      { parts.scheme, parts.userinfo, parts.host, parts.port, parts.path, parts.query, parts.fragment })
    assert.equal('[["q","1"],["q","a b&"],["x",""]]', json.encode(parts.pairs))
    assert.equal("array", net.kind(parts.pairs))
    local bare = url.parse("mailto:ada@example.com")
    assert.equal("ada@example.com", bare.path)
    assert.is_nil(bare.host or bare.port or bare.query or bare.userinfo or bare.fragment)
    assert.equal("[]", json.encode(bare.pairs))
    assert.equal("::1", url.parse("http://[::1]:8080/").host)
    -- Bytes that are no text stay as they are.
    assert.equal("\255", url.parse("http://a/?x=%ff").pairs[1][2])
  end)

  it("builds what it parsed, and escapes what has no place in a part", function()
    for _, text in ipairs{ "https://u:p@example.com:8443/a?b=c#d", "http://[::1]/", "mailto:a@b", "file:///etc/hosts", "x-y://h/p?" } do
      assert.equal(text, url.build(url.parse(text)))
    end
    assert.equal("https://example.com/a%3Fb%23c?x=1&y=a+b&y=c", url.build{ scheme = "https", host = "example.com", path = "a?b#c",
      query = { y = { "a b", "c" }, x = 1 } })
    assert.equal("http://a/?k=v", url.build{ scheme = "http", host = "a", pairs = { { "k", "v" } } })
    assert.equal("http://a/", url.build{ scheme = "http", host = "a", port = 80, pairs = {} })
  end)

  it("joins", function()
    assert.equal("http://a/b/g", url.join("http://a/b/c", "g"))
    assert.equal("http://x/", url.join("http://a/b/c", "//x"))
    assert.equal("http://a/b/c", url.join("http://a/b/c", ""))
  end)

  it("encodes and decodes any bytes", function()
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    all = table.concat(all)
    assert.equal(all, url.decode(url.encode(all)))
    assert.equal(256 + 2 * (256 - 66), #url.encode(all))
    assert.equal("/a%20b/~x", url.encode("/a b/~x", "/"))
    assert.equal("a+b", url.decode("a+b"))
    assert.equal("a b", url.decode("a+b", { plus = true }))
    assert.equal("", url.encode(""))
  end)

  it("makes queries as requests do", function()
    assert.equal("a=1&b=x+y&b=%26&c=true", url.query{ b = { "x y", "&" }, a = 1, c = true })
    assert.equal("z=1&a=2&z=3", url.query{ { "z", 1 }, { "a", "2" }, { "z", 3 } })
    assert.equal("id=9007199254740991", url.query{ id = 9007199254740991 })
    assert.equal("", url.query{})
  end)

  local wrong = {
    { "parse", { "/a" }, "bad argument #1 to 'parse' (URL has no scheme)" },
    { "parse", { "http://" }, "bad argument #1 to 'parse' (malformed URL: empty host)" },
    { "parse", { "http://a\n" }, "bad argument #1 to 'parse' (URL contains the control character '\\n')" },
    { "parse", { "http://\255" }, "bad argument #1 to 'parse' (URL is not valid UTF-8)" },
    { "parse", { 5 }, "bad argument #1 to 'parse' (url must be a string, got 5)" },
    { "parse", { "http://a/" .. ("x"):rep(1048576) }, "bad argument #1 to 'parse' (URL is longer than 1048576 bytes)" },
    { "build", { "http://a" }, "bad argument #1 to 'build' (a table of parts expected, got \"http://a\")" },
    { "build", { {} }, "bad argument #1 to 'build' (scheme is missing)" },
    { "build", { { scheme = "http" } }, "bad argument #1 to 'build' (host is missing)" },
    { "build", { { scheme = "http", host = "a/b" } }, "bad argument #1 to 'build' (host \"a/b\" is malformed)" },
    { "build", { { scheme = "a b", host = "a" } }, "bad argument #1 to 'build' (scheme \"a b\" is malformed)" },
    { "build", { { scheme = "http", host = "a", port = 70000 } }, "bad argument #1 to 'build' (port must be a port, 0..65535, got 70000)" },
    { "build", { { scheme = "http", host = "a", query = 5 } }, "bad argument #1 to 'build' (query must be a string or a table, got 5)" },
    { "build", { { scheme = "http", host = "a", pathh = "" } }, "bad argument #1 to 'build' (unknown option \"pathh\"; did you mean \"path\"?)" },
    { "build", { { scheme = "http", host = "a", path = "a\r\nb" } }, "bad argument #1 to 'build' (URL contains the control character '\\r')" },
    { "join", { "a", "b" }, "bad argument #1 to 'join' (URL has no scheme)" },
    { "join", { "http://a", "http://" }, "bad argument #2 to 'join' (malformed URL: empty host)" },
    { "join", { "http://a" }, "bad argument #2 to 'join' (reference must be a string, got nil)" },
    { "encode", {}, "bad argument #1 to 'encode' (text must be a string, got nil)" },
    { "encode", { "a", {} }, "bad argument #2 to 'encode' (safe must be a string, got a table)" },
    { "decode", { "ab%4" }, "bad argument #1 to 'decode' (invalid escape at byte 3)" },
    { "decode", { "%zz" }, "bad argument #1 to 'decode' (invalid escape at byte 1)" },
    { "decode", { "a", { pluss = true } }, "bad argument #2 to 'decode' (unknown option \"pluss\"; did you mean \"plus\"?)" },
    { "query", { "a=b" }, "bad argument #1 to 'query' (a table of names and values expected, got \"a=b\")" },
    { "query", { { a = print } }, "bad argument #1 to 'query' (query must hold strings, got \"a\" and a function)" },
    { "query", { { [1] = { "a", "b" }, [3] = { "c", "d" } } }, "bad argument #1 to 'query' (query has a hole at index 2)" },
  }
  for _, row in ipairs(wrong) do
    it("refuses: " .. row[3]:sub(1, 90), function()
      assert.equal(row[3], raised(url[row[1]], unpack(row[2], 1, 3)))
    end)
  end
end)

describe("json", function()
  it("is the same in documents of any size, and all of it or nothing", function()
    for _, count in ipairs{ 0, 1, 50, 170, 171, 172, 3000 } do
      local records = {}
      for i = 1, count do
        records[i] = ('{"n":%d,"b":[%s],"a":{"k\\u0041%d":"x\\n%d","y":{}},"z":null,"e":[]}'):format(i, ("1,"):rep(i % 7) .. "2", i, i)
      end
      local document = "[" .. table.concat(records, ",") .. "]"
      local value = codec.json.decode(document)
      assert.equal(count, #value)
      for i = 1, count do
        local record = value[i]
        assert(record.n == i and #record.b == i % 7 + 1 and record.a["kA" .. i] == "x\n" .. i and next(record.a.y) == nil, i)
      end
      assert.equal(document:gsub("\\u0041", "A"), codec.json.encode(value))
      for cut = 1, #document - 1, math.max(1, math.floor(#document / 40)) do
        assert.is_false(pcall(codec.json.decode, document:sub(1, cut)), cut)
      end
    end
    local deep = ("["):rep(126) .. '{"a":[1]}' .. ("]"):rep(126)
    assert.is_false(pcall(codec.json.decode, deep))
    deep = deep:sub(3, -3)
    assert.equal(deep, codec.json.encode(codec.json.decode(deep)))
    assert.equal(300000, #codec.json.decode('"' .. ("é\\n"):rep(100000) .. '"'))
  end)

  it("keeps the order of keys where a value came from JSON", function()
    for _, text in ipairs{
      '{"b":1,"a":2}', '{"z":{"y":1,"x":[]},"a":[{"d":1,"c":2},{"d":3,"c":4},{"c":5,"d":6}],"m":null}', '{"b":{},"a":[]}', "{}", "[]",
      '{"10":1,"9":2,"é":3,"":4}', '[{"b":1,"a":{"b":1,"a":2}}]',
    } do
      assert.equal(text, json.encode(json.decode(text)))
    end
    -- More orders than are remembered for comparing.
    local many = {}
    for i = 1, 600 do many[i] = '{"z' .. i .. '":1,"a":' .. i .. "}" end
    many = "[" .. table.concat(many, ",") .. "]"
    assert.equal(many, json.encode(json.decode(many)))
    -- Values are made in rounds of some hundred steps: a round may end anywhere.
    for count = 500, 520 do
      local text = '{"b":[' .. ("1,"):rep(count) .. '{"d":"\\n","c":[]}],"a":null}'
      assert.equal(text, json.encode(json.decode(text)))
      text = "[" .. ("0,"):rep(count) .. "[]]"
      assert.equal(text, json.encode(json.decode(text)))
    end
  end)

  it("sorts on request, and where no order is known", function()
    local value = json.decode('{"b":{"d":1,"c":2},"a":[]}')
    assert.equal('{"a":[],"b":{"c":2,"d":1}}', json.encode(value, { sorted = true }))
    assert.equal('{"b":{"d":1,"c":2},"a":[]}', json.encode(value, { sorted = false }))
    assert.equal('{"a":1,"b":2,"c":3}', json.encode{ c = 3, a = 1, b = 2 })
  end)

  it("keeps the order of what stays when an object is changed", function()
    local value = json.decode('{"c":1,"b":2,"a":3}')
    value.b, value.d, value.x = nil, 4, 5
    assert.equal('{"c":1,"a":3,"d":4,"x":5}', json.encode(value))
    value.b = 6
    assert.equal('{"c":1,"b":6,"a":3,"d":4,"x":5}', json.encode(value))
    -- Of equal names the last value counts, and the first place.
    assert.equal('{"b":3,"a":2}', json.encode(json.decode('{"b":1,"a":2,"b":3}')))
    -- What a script gives a metatable of its own is an object like others.
    assert.equal('{"a":2,"b":1}', json.encode(setmetatable(json.decode('{"b":1,"a":2}'), {})))
  end)

  it("round-trips values", function()
    for _, text in ipairs{ "null", "true", "false", "0", "-1", "1.5", '""', '"a\\"\\\\\\n"', "[1,[2,[]],null]" } do
      assert.equal(text, json.encode(json.decode(text)))
    end
    assert.equal(json.null, json.decode("null"))
    assert.is_false(json.decode("false"))
    assert.equal("[]", json.encode(json.array()))
    assert.equal("[]", json.encode(json.array{}))
    assert.equal("{}", json.encode{})
    assert.equal("[]", json.encode(json.array(json.decode("{}"))))
    assert.equal("9007199254740991", json.encode(9007199254740991))
    assert.equal('"\226\130\172"', json.encode(json.decode('"\\u20ac"')))
  end)

  it("has a limit of depth in both directions", function()
    local deep = ("["):rep(127) .. ("]"):rep(127)
    assert.equal(deep, json.encode(json.decode(deep)))
    for _, open in ipairs{ "[", '{"b":1,"a":' } do
      assert.matches("^bad argument #1 to 'decode' %(malformed JSON: nested more than 127 levels deep", raised(json.decode, open:rep(10000)))
    end
    local loop = {}
    loop.loop = loop
    assert.matches("is nested too deeply %(or contains itself%)", raised(json.encode, loop))
  end)

  local wrong = {
    { "decode", { "" }, "bad argument #1 to 'decode' (malformed JSON: the text is empty)" },
    { "decode", { '{"a":1,}' }, "bad argument #1 to 'decode' (malformed JSON: trailing comma at line 1 column 8)" },
    { "decode", { '"\\x"' }, "bad argument #1 to 'decode' (malformed JSON: invalid escape at line 1 column 3)" },
    { "decode", { "1 2" }, "bad argument #1 to 'decode' (malformed JSON: trailing characters at line 1 column 3)" },
    { "decode", { "[NaN]" }, "bad argument #1 to 'decode' (malformed JSON: expected value at line 1 column 2)" },
    { "decode", { {} }, "bad argument #1 to 'decode' (text must be a string, got a table)" },
    { "encode", {}, "bad argument #1 to 'encode' (value is nil; null is json.null)" },
    { "encode", { print }, "bad argument #1 to 'encode' (value is a function, which JSON does not have)" },
    { "encode", { { a = { 1, print } } }, "bad argument #1 to 'encode' (value: a[2] is a function, which JSON does not have)" },
    { "encode", { 0 / 0 }, "^bad argument #1 to 'encode' %(value is %-?NaN, which JSON does not have%)" },
    { "encode", { "\255" }, "bad argument #1 to 'encode' (value is a string that is not valid UTF-8)" },
    { "encode", { {}, { srted = true } }, "bad argument #2 to 'encode' (unknown option \"srted\"; did you mean \"sorted\"?)" },
    { "encode", { {}, true }, "bad argument #2 to 'encode' (opts must be a table, got true)" },
    { "array", { 5 }, "bad argument #1 to 'array' (a table expected, got 5)" },
    { "array", { setmetatable({}, {}) }, "bad argument #1 to 'array' (the table has a metatable of its own)" },
  }
  for _, row in ipairs(wrong) do
    it("refuses: " .. row[3], function()
      local words = raised(json[row[1]], unpack(row[2], 1, 2))
      if row[3]:sub(1, 1) == "^" then assert.matches(row[3], words) else assert.equal(row[3], words) end
    end)
  end

  it("of a response keeps its order, too", function()
    local text = '{"b":1,"a":{"d":[],"c":2}}'
    local value = net.fetch(ECHO, { method = "POST", body = text }):json()
    assert.equal(text, json.encode(value))
    -- And goes out in it.
    assert.equal(text, net.fetch(ECHO, { method = "POST", body_json = value }).body)
  end)
end)

describe("base64", function()
  it("encodes and decodes", function()
    -- RFC 4648 section 10
    for _, row in ipairs{ { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\251\255\254", "+//+" } } do
      assert.equal(row[2], base64.encode(row[1]))
      assert.equal(row[1], base64.decode(row[2]))
      local safe = row[2]:gsub("%+", "-"):gsub("/", "_"):gsub("=", "")
      assert.equal(safe, base64.url_encode(row[1]))
      assert.equal(row[1], base64.url_decode(safe))
    end
    assert.equal("f", base64.url_decode("Zg=="))
    local bytes = hash.random(100000)
    assert.equal(bytes, base64.decode(base64.encode(bytes)))
    assert.equal(bytes, base64.url_decode(base64.url_encode(bytes)))
  end)

  it("is strict", function()
    for _, text in ipairs{ "Zg", "Zg=", "Z", "Zh==", "Z g==", "Zg==\n", "-__-", "Zg==Zg==", "=", "\0\0\0\0" } do
      assert.matches("^bad argument #1 to 'decode' %([%a ]+ at byte %d+%)$", raised(base64.decode, text))
    end
    for _, text in ipairs{ "Zg=", "+//+", "Zh", "====", "Z", "=" } do
      assert.matches("^bad argument #1 to 'url_decode' %([%a ]+ at byte %d+%)$", raised(base64.url_decode, text))
    end
    assert.equal("bad argument #1 to 'encode' (bytes must be a string, got nil)", raised(base64.encode))
  end)
end)

describe("hash", function()
  it("gives the published digests, as hex or bytes", function()
    for name, expected in pairs{
      md5 = "900150983cd24fb0d6963f7d28e17f72", sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d",
      sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    } do
      assert.equal(expected, hash[name]("abc"))
      assert.equal(expected, hash[name]("abc", "hex"))
      local bytes = hash[name]("abc", "bytes"):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
      assert.equal(expected, bytes)
    end
  end)

  it("gives the published codes of RFC 4231 and RFC 2202", function()
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", hash.hmac_sha256("Jefe", "what do ya want for nothing?"))
    assert.equal("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", hash.hmac_sha1("Jefe", "what do ya want for nothing?"))
    assert.equal("80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
      hash.hmac_sha512(("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"))
    assert.equal(32, #hash.hmac_sha256("", "", "bytes"))
  end)

  it("compares, and makes random bytes", function()
    assert.is_true(hash.equal("", "") and hash.equal("a\0b", "a\0b"))
    assert.is_false(hash.equal("a", "b") or hash.equal("a", "aa") or hash.equal("", "a"))
    assert.equal("", hash.random(0))
    assert.equal(1048576, #hash.random(1048576))
    assert.not_equal(hash.random(16), hash.random(16))
  end)

  local wrong = {
    { "sha256", {}, "bad argument #1 to 'sha256' (bytes must be a string, got nil)" },
    { "sha256", { 5 }, "bad argument #1 to 'sha256' (bytes must be a string, got 5)" },
    { "sha256", { "a", "base64" }, "bad argument #2 to 'sha256' (form must be \"hex\" or \"bytes\", got \"base64\")" },
    { "hmac_sha256", { "key" }, "bad argument #2 to 'hmac_sha256' (bytes must be a string, got nil)" },
    { "hmac_sha256", { "key", "a", true }, "bad argument #3 to 'hmac_sha256' (form must be \"hex\" or \"bytes\", got true)" },
    { "equal", { "a" }, "bad argument #2 to 'equal' (b must be a string, got nil)" },
    { "random", { -1 }, "bad argument #1 to 'random' (n must be a whole number, 0 or more, got -1)" },
    { "random", { 1048577 }, "bad argument #1 to 'random' (n must be at most 1048576)" },
    { "random", { 0.5 }, "bad argument #1 to 'random' (n must be a whole number, 0 or more, got 0.5)" },
    { "random", { math.huge }, "bad argument #1 to 'random' (n must be a whole number, 0 or more, got inf)" },
  }
  for _, row in ipairs(wrong) do
    it("refuses: " .. row[3], function()
      assert.equal(row[3], raised(hash[row[1]], unpack(row[2], 1, 3)))
    end)
  end
end)

describe("a cap", function()
  it("is on everything that something as long is made of", function()
    local huge = ("0123456789abcdef"):rep(4 * 1024 * 1024) .. "0"
    for _, row in ipairs{
      { url.encode, "text" }, { url.decode, "text" }, { json.decode, "text" }, { base64.encode, "bytes" }, { base64.decode, "text" },
      { base64.url_encode, "bytes" }, { base64.url_decode, "text" },
    } do
      assert.matches(row[2] .. " is longer than 67108864 bytes", raised(row[1], huge))
    end
    huge = nil -- luacheck: ignore
    collectgarbage()
  end)
end)

describe("sleep", function()
  it("waits, and takes seconds", function()
    local before = os.time()
    net.sleep(0)
    net:sleep(1.01)
    assert.is_true(os.time() > before)
    assert.equal("bad argument #1 to 'sleep' (seconds must be 0 or more seconds, got nil)", raised(net.sleep))
    assert.equal("bad argument #1 to 'sleep' (seconds must be 0 or more seconds, got -1)", raised(net.sleep, -1))
    assert.equal("bad argument #1 to 'sleep' (seconds must be 0 or more seconds: a number, got a string (\"1\"))", raised(net.sleep, "1"))
  end)
end)
