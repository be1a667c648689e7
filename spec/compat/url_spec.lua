-- The drop-in's `socket.url`: fields, RFC 3986, and hosts that end where they should.

local url = require("spec.support.dropin").require("socket.url")

-- What a URL is made of, in the order scheme, user, password, host, port, path, params, query, fragment.
local FIELDS = { "scheme", "user", "password", "host", "port", "path", "params", "query", "fragment" }
local parts = {
  { "http://u:p@h:80/a;b?c#d", { "http", "u", "p", "h", "80", "/a", "b", "c", "d" } },
  { "//h", { host = "h" } },
  { "/a/b", { path = "/a/b" } },
  { "a", { path = "a" } },
  { "http://h:/", { scheme = "http", host = "h", port = "", path = "/" } },
  { "http://u:@h", { scheme = "http", user = "u", password = "", host = "h" } },
  { "http://[::1]:81/x", { scheme = "http", host = "::1", port = "81", path = "/x" } },
  { "//h?q#f", { host = "h", query = "q", fragment = "f" } },
  { "scheme://u:p#?@h/x", { scheme = "scheme", user = "u", password = "p#?", host = "h", path = "/x" } },
  { "mailto:a@b", { scheme = "mailto", path = "a@b" } },
  -- Where LuaSocket 3.1 reads another host, or another password.
  { "http://good#f@evil/", { scheme = "http", host = "good", fragment = "f@evil/" } },
  { "HTTPS://good?@evil/", { scheme = "HTTPS", host = "good", query = "@evil/" } },
  { "//good#@evil/", { host = "good", fragment = "@evil/" } },
  { "http://a@good@host/", { scheme = "http", user = "a@good", host = "host", path = "/" } },
  { "http://u:p:w@h/", { scheme = "http", user = "u", password = "p:w", host = "h", path = "/" } },
}

-- base, reference, the URL that is meant (RFC 3986, 5.4, and what LuaSocket's tests pin).
local BASE = "http://a/b/c/d;p?q"
local references = {
  { BASE, "g:h", "g:h" }, { BASE, "g", "http://a/b/c/g" }, { BASE, "./g/", "http://a/b/c/g/" }, { BASE, "/g", "http://a/g" },
  { BASE, "//g", "http://g" }, { BASE, "?y", "http://a/b/c/d;p?y" }, { BASE, "g?y", "http://a/b/c/g?y" },
  { BASE, "#s", "http://a/b/c/d;p?q#s" }, { BASE, ";x", "http://a/b/c/d;x" }, { BASE, "", BASE }, { BASE, ".", "http://a/b/c/" },
  { BASE, "..", "http://a/b/" }, { BASE, "../..", "http://a/" }, { BASE, "../../../g", "http://a/g" }, { BASE, "/../g", "http://a/g" },
  { BASE, "g.", "http://a/b/c/g." }, { BASE, "..g", "http://a/b/c/..g" }, { BASE, "g/../h", "http://a/b/c/h" },
  { BASE, "./g/.", "http://a/b/c/g/" }, { BASE, "g?y/./x", "http://a/b/c/g?y/x" },
  { "http://e", ".bad", "http://e/.bad" }, { "http://e/a/b/c/d/", "..//a/..//../../../q", "http://e/a/b/q" },
  { "a/b/c", "d", "a/b/d" }, { "a", "../x", "/x" }, { "//a/b", "c", "//a/c" }, { "", "x", "x" },
  -- LuaSocket 3.1 removes steps from queries, and even the host.
  { "http://a/", "/q?next=/a/../b//c", "http://a/q?next=/a/../b//c" },
  { "http://a/", "http://b/../c", "http://b/c" },
}

describe("socket.url", function()
  for _, row in ipairs(parts) do
    it("parses " .. row[1], function()
      local parsed = url.parse(row[1])
      for at, name in ipairs(FIELDS) do
        assert.equal(#row[2] > 0 and row[2][at] or row[2][name], parsed[name], name)
      end
      assert.equal(row[1], url.build(parsed))
    end)
  end

  for _, row in ipairs(references) do
    it(("means %s by %q at %s"):format(row[3], row[2], row[1]), function()
      assert.equal(row[3], url.absolute(row[1], row[2]))
      if row[1] ~= "" then assert.equal(row[3], url.absolute(url.parse(row[1]), row[2])) end
    end)
  end

  it("takes what is missing from the defaults", function()
    assert.same({ scheme = "http", host = "h", authority = "h", path = "/", port = 8 }, url.parse("//h", { scheme = "http", path = "/", port = 8 }))
  end)

  it("has nothing of an empty URL", function()
    assert.same({ nil, "invalid url" }, { url.parse("") })
    assert.same({ nil, "invalid url" }, { url.parse(nil) })
  end)

  it("puts fields before authority, and an address in brackets", function()
    assert.equal("s://u:p@[::1]:8/x", url.build{ scheme = "s", authority = "old", host = "::1", port = 8, user = "u", password = "p", path = "/x" })
    assert.equal("s://old/x", url.build{ scheme = "s", authority = "old", path = "/x" })
    assert.equal("//i@h", url.build{ host = "h", userinfo = "i" })
  end)

  it("escapes all but letters, digits and _", function()
    local all = {}
    for i = 0, 255 do all[i + 1] = string.char(i) end
    local text = table.concat(all)
    assert.equal(text, url.unescape(url.escape(text)))
    assert.equal("a_B9%2d%2e%20%ff", url.escape("a_B9-. \255"))
    assert.equal("+%4 A", url.unescape("+%4 %41"))
  end)

  it("splits and joins paths", function()
    for path, segments in pairs{
      ["/a/b%20c/"] = { "a", "b c", is_absolute = 1, is_directory = 1 }, ["a"] = { "a" }, ["/"] = { is_absolute = 1, is_directory = 1 },
    } do
      assert.same(segments, url.parse_path(path))
      assert.equal(path, url.build_path(segments))
    end
    assert.equal("/a b/", url.build_path({ "a b", is_absolute = 1, is_directory = 1 }, true))
    assert.equal("eq%3Fua%2Fl-_.!~*'():@&=+$,", url.build_path{ "eq?ua/l-_.!~*'():@&=+$," })
    assert.same({}, url.parse_path(nil))
  end)

  it("says which it is, and gives nothing else", function()
    local names = {}
    for name in pairs(url) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "_VERSION", "absolute", "build", "build_path", "escape", "parse", "parse_path", "unescape" }, names)
    assert.equal("URL 1.0.3", url._VERSION)
  end)
end)
