-- The drop-in's `mime` and `mime.core`: the incremental contract byte for byte, and the filters over it.

local dropin = require("spec.support.dropin")
local mime, ltn12 = dropin.require("mime"), dropin.require("ltn12")

-- function, arguments, results. "-" is nil.
local NIL = "-"
local calls = {
  { "b64", { "abc", NIL }, { "YWJj", NIL } }, { "b64", { "ab", NIL }, { "YWI=", NIL } }, { "b64", { "a", "" }, { "", "a" } },
  { "b64", { "a", "bcd" }, { "YWJj", "d" } }, { "b64", { "", NIL }, { NIL, NIL } }, { "b64", { NIL, "x" }, { NIL, NIL } },
  { "b64", { 12, 3 }, { "MTIz", "" } }, { "b64", { "\255\254\253", NIL }, { "//79", NIL } },
  { "unb64", { "YWJj", NIL }, { "abc", NIL } }, { "unb64", { "Y*W\r\nI=", "YQ" }, { "ab", "YQ" } }, { "unb64", { "YW", NIL }, { NIL, NIL } },
  { "unb64", { NIL, NIL }, { NIL, NIL } }, { "unb64", { "YQ==YQ==", NIL }, { "aa", NIL } },
  { "qp", { "a=\233\r\n", NIL }, { "a=3D=E9\r\n", NIL } }, { "qp", { "x \r\n", "y \r" }, { "x=20\r\ny", " \r" } },
  { "qp", { "a\r\nb", NIL, "=0D=0A" }, { "a=0D=0Ab", NIL } }, { "qp", { "end ", NIL }, { "end=20=\r\n", NIL } }, { "qp", { "a", " " }, { "a", " " } },
  { "unqp", { "a=3Db=\r\nc=3", NIL }, { "a=bc", NIL } }, { "unqp", { "=3", "d\r\nx\1\128\n=zz" }, { "=\r\nx=zz", "" } },
  { "wrp", { 3, "abcdefg", 3 }, { "abc\r\ndef\r\ng", 2 } }, { "wrp", { 76, NIL }, { NIL, 76 } }, { "wrp", { 70, NIL }, { "\r\n", 76 } },
  { "wrp", { 2, "a\nb\r\nc", 2 }, { "a\r\nb\r\nc", 1 } },
  { "qpwrp", { 5, "abcd=3Defg", 5 }, { "abcd=\r\n=3De=\r\nfg", 3 } }, { "qpwrp", { 4, NIL, 5 }, { "=\r\n", 5 } },
  { "eol", { 0, "a\r\nb\nc\rd\n\re\n\n" }, { "a\r\nb\r\nc\r\nd\r\ne\r\n\r\n", 0 } }, { "eol", { 0, "a\r", "\n" }, { "a\n", 13 } },
  { "eol", { 13, "\nb", "\n" }, { "b", 0 } }, { "eol", { 13, NIL }, { NIL, 0 } },
  { "dot", { 2, ".a\r\n.b.\r\n..\r\n" }, { "..a\r\n..b.\r\n...\r\n", 2 } }, { "dot", { 0, ".a\n.b" }, { ".a\n.b", 0 } }, { "dot", { 1, "\n." }, { "\n..", 0 } },
  { "dot", { 2, NIL }, { NIL, 2 } },
}

local function values(list)
  local out = {}
  for at = 1, 3 do
    if list[at] ~= NIL then out[at] = list[at] end
  end
  return out
end

local function through(make, text, cut)
  local out = {}
  local src = ltn12.source.cat(ltn12.source.string(text:sub(1, cut)), ltn12.source.string(text:sub(cut + 1)))
  assert(ltn12.pump.all(ltn12.source.chain(src, make()), (ltn12.sink.table(out))))
  return table.concat(out)
end

describe("mime", function()
  it("is mime.core, with filters", function()
    assert.equal(mime, dropin.require("mime.core"))
    assert.equal("MIME 1.0.3", mime._VERSION)
    for _, name in ipairs{ "encodet", "decodet", "wrapt" } do assert.is_table(mime[name]) end
  end)

  for _, row in ipairs(calls) do
    local a, b, c = row[2][1], row[2][2], row[2][3]
    it(("%s(%s, %s%s)"):format(row[1], ("%q"):format(a), ("%q"):format(b), c and ", " .. ("%q"):format(c) or ""), function()
      local given = values(row[2])
      local x, y = mime[row[1]](given[1], given[2], given[3])
      local expected = values(row[3])
      assert.equal(expected[1], x)
      assert.equal(expected[2], y)
    end)
  end

  for _, row in ipairs{
    { "b64", { {} }, "string expected, got table" }, { "wrp", {}, "number expected, got n" }, { "dot", { "x" }, "number expected, got string" },
    { "qp", { "a", "b", {} }, "string expected, got table" }, { "eol", { 0, {} }, "string expected, got table" },
  } do
    it(row[1] .. " refuses arguments of another type", function()
      local ok, err = pcall(mime[row[1]], row[2][1], row[2][2], row[2][3])
      assert.is_false(ok)
      assert.matches(row[3], err, 1, true)
    end)
  end

  -- Every byte, at the ends of lines and of the text, and lines of every length.
  local all = {}
  for i = 0, 255 do all[#all + 1] = string.char(i) end
  for i = 0, 100 do all[#all + 1] = ("x"):rep(i) .. " \t\r\n" end
  local text = table.concat(all)

  local pairs_of = {
    base64 = function() return ltn12.filter.chain(mime.encode("base64"), mime.wrap("base64")) end,
    ["quoted-printable"] = function() return ltn12.filter.chain(mime.encode("quoted-printable"), mime.wrap("quoted-printable")) end,
    ["quoted-printable, binary"] = function()
      return ltn12.filter.chain(mime.encode("quoted-printable", "binary"), mime.wrap("quoted-printable"))
    end,
  }
  for name, encode in pairs(pairs_of) do
    it(name .. " there and back, however it is cut", function()
      local kind = name:match("^[^,]+")
      local whole = through(encode, text, #text)
      for line in whole:gmatch("[^\r\n]+") do assert.is_true(#line <= 76, line) end
      assert.equal(text, through(function() return mime.decode(kind) end, whole, 1000))
      for cut = 0, #text, 97 do assert.equal(whole, through(encode, text, cut)) end
    end)
  end

  it("does large pieces in one call", function()
    local large = text:rep(200)
    local coded = mime.b64(large)
    assert.equal(math.ceil(#large / 3) * 4, #coded)
    assert.equal(large, (mime.unb64(coded)))
    assert.equal(large, (mime.unqp((mime.qp(large)))))
    assert.equal(#large * 2, #(mime.eol(0, ("\n"):rep(#large))))
  end)

  it("normalizes line ends and stuffs dots", function()
    assert.equal("a\nb\n\nc\n", through(function() return mime.normalize("\n") end, "a\r\nb\r\rc\n", 2))
    assert.equal("a\r\n", through(mime.normalize, "a\r", 2))
    assert.equal("..\r\na.\r\n..b", through(mime.stuff, ".\r\na.\r\n.b", 2))
  end)

  it("wraps at the length it is given, 76 by default", function()
    assert.equal("abc\r\ndef\r\n", through(function() return mime.wrap(3) end, "abcdef", 2))
    assert.equal("abc\r\ndef\r\n", through(function() return mime.wrap("text", 3) end, "abcdef", 2))
    assert.equal(("x"):rep(76) .. "\r\nx\r\n", through(mime.wrap, ("x"):rep(77), 2))
  end)

  it("knows the filters that its tables name", function()
    mime.encodet.shout = function() return function(piece) return piece and piece:upper() end end
    assert.equal("LOUD", through(function() return mime.encode("shout") end, "loud", 2))
    mime.encodet.shout = nil
    for _, name in ipairs{ "encode", "decode", "wrap" } do
      local ok, err = pcall(mime[name], "nope")
      assert.is_false(ok)
      assert.matches("unknown key (nope)", err, 1, true)
    end
  end)
end)
